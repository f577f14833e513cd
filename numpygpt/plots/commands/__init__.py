"""What `./plot.py WHAT` can draw, a module each.

A module has `add_arguments(parser)`, its flags, and `make(args, new_figure)`, which draws on `new_figure(size)` and
returns a `Drawn`. SUFFIXES, where it has one, are the formats other than those of a picture.
"""
