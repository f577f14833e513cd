"""Prepare numbers for drawing: smoothing, and the range worth showing."""

from __future__ import annotations

import numpy as np

Points = tuple[np.ndarray, np.ndarray]
WARMUP = 0.02  # the first part of a run: its drop from ln V would flatten everything after it


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Return the exponential moving average over about `span` values, corrected for its start at 0; nan stays nan.

        m_t = beta m_{t-1} + (1 - beta) x_t,   result: m_t / (1 - beta^t)     with beta = 1 - 1 / span

    This is Adam's bias correction (Kingma and Ba, 2015, section 3): at t = 1 the average is x_1 itself.

    >>> smooth(np.array([4.0, 2.0, 2.0]), span=2).round(2).tolist()
    [4.0, 2.67, 2.29]
    """
    beta = 1 - 1 / max(span, 1.0)
    mean, weight = 0.0, 0.0
    out = np.full(len(values), np.nan)
    for i, value in enumerate(values.tolist()):
        if np.isfinite(value):  # a nan must not hide all later values
            mean = beta * mean + (1 - beta) * value
            weight = beta * weight + (1 - beta)  # = 1 - beta^t
            out[i] = mean / weight
    return out


def medians(x: np.ndarray, y: np.ndarray, span: float) -> Points:
    """Return (last x, median y) of each stretch of `span` values: a median ignores single outliers.

    >>> medians(np.arange(6), np.array([1.0, 2, 99, 3, 4, 5]), span=3)[1].tolist()
    [2.0, 4.0]
    """
    starts = np.arange(0, len(y), max(1, round(span)))
    stops = np.append(starts[1:], len(y))
    return x[stops - 1], np.array([np.median(y[start:stop]) for start, stop in zip(starts, stops, strict=True)])


def frame(raw: list[Points], calm: list[Points]) -> tuple[float, float] | None:
    """Return the lowest and highest y worth showing, or None if no value is finite.

    All of the `calm` lines (smoothed, validation) is shown, except that the first 2 % of x do not set the top: a loss
    starts at ln V and soon is far below it. Single spikes of the `raw` lines may be cut off: the frame reaches as far
    beyond the 5 % and 95 % quantiles as these are from the median, which patches the noise of batches.
    """
    last = max((x[-1] for x, _ in raw + calm if len(x)), default=0.0)
    low: list[float] = []
    high: list[float] = []
    for lines, whole in ((raw, False), (calm, True)):
        for x, y in lines:
            known = y[np.isfinite(y)]
            if not len(known):
                continue
            after = y[np.isfinite(y) & (x > WARMUP * last)]
            after = after if len(after) else known
            low.append(known.min() if whole else max(known.min(), beyond(known, 0.05)))
            high.append(after.max() if whole else min(after.max(), beyond(after, 0.95)))
    if not low:
        return None
    bottom, top = float(min(low)), float(max(high))
    peak = max(float(y[np.isfinite(y)].max(initial=top)) for _, y in raw + calm)
    return bottom, peak if peak - top < 0.25 * (top - bottom) else top  # too little to cut off


def beyond(values: np.ndarray, fraction: float) -> float:
    """Return this quantile, moved outwards by its distance from the median."""
    return float(2 * np.quantile(values, fraction) - np.median(values))


def time_unit(seconds: float) -> tuple[float, str]:
    """Return (seconds, name) of the unit that suits so long a run."""
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
