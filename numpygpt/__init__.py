"""NumpyGPT: a GPT in NumPy in which every gradient is written by hand."""

from numpygpt.models import GPT
from numpygpt.nn.gradcheck import gradcheck

__version__ = "0.1.0"
__all__ = ["GPT", "gradcheck"]
