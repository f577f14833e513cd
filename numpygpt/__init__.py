"""NumpyGPT: a GPT in NumPy in which every gradient is written by hand."""

__version__ = "0.1.0"
