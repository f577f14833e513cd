"""What `./plot.py WHAT` can draw: one module each, with the drawing itself.

A module has `add_arguments(parser)` for its flags, and `make(args, new_figure)`, which draws on `new_figure(size)` and
returns an `Output`. SUFFIXES, if there, are the formats other than those of a picture.
"""
