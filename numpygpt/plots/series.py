"""Numbers before they are lines: smoothing, thinning, and what of them the frame should show."""

from __future__ import annotations

import numpy as np

POINTS = 3000  # more than a panel has pixels across, so that thinning is not seen
Points = tuple[np.ndarray, np.ndarray]
WARMUP = 0.02  # the first part of a run, whose fall from ln V would flatten everything after it


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Exponential moving average over about `span` values, without the pull of a start at 0; nan stays nan.

        m_t = beta m_{t-1} + (1 - beta) x_t,   shown: m_t / (1 - beta^t)      with beta = 1 - 1 / span

    This is Adam's bias correction (Kingma and Ba, 2015, section 3): at t = 1 the average is x_1 itself.

    >>> smooth(np.array([4.0, 2.0, 2.0]), span=2).round(2).tolist()
    [4.0, 2.67, 2.29]
    """
    beta = 1 - 1 / max(span, 1.0)
    mean, weight = 0.0, 0.0
    out = np.full(len(values), np.nan)
    for i, value in enumerate(values.tolist()):
        if np.isfinite(value):  # a loss that is not a number must not swallow all later ones
            mean = beta * mean + (1 - beta) * value
            weight = beta * weight + (1 - beta)  # = 1 - beta^t
            out[i] = mean / weight
    return out


def medians(x: np.ndarray, y: np.ndarray, span: float) -> Points:
    """(last x, median y) of each stretch of `span` values: a median does not see single outliers.

    >>> medians(np.arange(6), np.array([1.0, 2, 99, 3, 4, 5]), span=3)[1].tolist()
    [2.0, 4.0]
    """
    starts = np.arange(0, len(y), max(1, round(span)))
    stops = np.append(starts[1:], len(y))
    return x[stops - 1], np.array([np.median(y[start:stop]) for start, stop in zip(starts, stops, strict=True)])


def thin(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about `points` of the points, by the smallest and the largest y of each stretch: spikes survive."""
    if len(y) <= points:
        return x, y
    edges = np.linspace(0, len(y), points // 2 + 1).astype(int)  # points // 2 stretches, two points of each
    low = np.where(np.isnan(y), np.inf, y)
    high = np.where(np.isnan(y), -np.inf, y)
    keep = {0, len(y) - 1}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        keep.add(start + int(low[start:stop].argmin()))  # all nan: a nan is kept, and the line breaks there
        keep.add(start + int(high[start:stop].argmax()))
    chosen = np.array(sorted(keep))
    return x[chosen], y[chosen]


def frame(raw: list[Points], calm: list[Points]) -> tuple[float, float] | None:
    """The lowest and highest y worth showing, or None where no value is finite.

    The `calm` lines (smoothed, validation) are shown whole but for the first 2 % of x, which count for the bottom only:
    a loss starts at ln V and is far below it soon after. Of the `raw` lines single spikes may stick out: they are shown
    as far beyond the 5 % and 95 % points as these are from the middle, which covers the noise of batches.
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
    return bottom, peak if peak - top < 0.25 * (top - bottom) else top  # so little is not worth cutting off


def beyond(values: np.ndarray, share: float) -> float:
    """The quantile at `share`, moved outwards by its distance from the median."""
    return float(2 * np.quantile(values, share) - np.median(values))


def changes(values: np.ndarray) -> np.ndarray:
    """values[i] - values[i-1]: what each evaluation gained over the one before; one number fewer."""
    return np.diff(values)


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit in which so long a run is read with ease, as (seconds in it, name)."""
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
