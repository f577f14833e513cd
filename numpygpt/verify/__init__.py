"""Checks of the gradients: finite differences, the table of cases, and mutation testing."""

from numpygpt.verify.check import gradcheck

__all__ = ["gradcheck"]
