#!/usr/bin/env python
"""Cuts a horizontal band out of a picture: python assets/crop.py FROM TO TOP BOTTOM

TOP and BOTTOM are fractions of the height. Each cut moves to the nearest row of one colour, so that it goes through no
text and no curve.
"""

import sys

import numpy as np
from matplotlib.image import imread, imsave


def cut(picture: np.ndarray, fraction: float) -> int:
    """The index of the row of one colour that is nearest to `fraction` of the height."""
    blank = np.flatnonzero((picture == picture[:, :1]).all(axis=(1, 2)))
    blank = np.concatenate([[0], blank, [len(picture)]])
    return int(blank[np.abs(blank - fraction * len(picture)).argmin()])


def main(source: str, target: str, top: str, bottom: str) -> None:
    picture = imread(source)
    band = picture[cut(picture, float(top)) : cut(picture, float(bottom))]
    columns = np.flatnonzero((band != band[0, 0]).any(axis=(0, 2)))
    left, right = max(0, columns[0] - 20), columns[-1] + 20
    imsave(target, np.ascontiguousarray(band[:, left:right]))


if __name__ == "__main__":
    main(*sys.argv[1:])
