"""`train.py --trace`: one step of a run in words and numbers."""

from numpygpt.inspection.walk.whole import walk

__all__ = ["walk"]
