"""Seeing inside: what each module does (`trace`), what it costs (`summary`), and what a trained model looks at."""

from numpygpt.inspection import formulas  # noqa: F401 - the costs of the layers enter the table of `costs`
from numpygpt.inspection.costs import Call, Cost, Inside, costs_of
from numpygpt.inspection.summary import Row, Summary, summary
from numpygpt.inspection.tables import formula_table
from numpygpt.inspection.trace import Record, trace

__all__ = ["Call", "Cost", "Inside", "Record", "Row", "Summary", "costs_of", "formula_table", "summary", "trace"]
