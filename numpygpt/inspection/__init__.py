"""Seeing inside: what each module does (`trace`), what it costs (`summary`), and what a trained model looks at."""

from numpygpt.inspection.summary import Row, Summary, summary
from numpygpt.inspection.trace import Record, trace

__all__ = ["Record", "Row", "Summary", "summary", "trace"]
