"""Assemble the page of `plot.py explore`: one HTML file that loads nothing.

Styles and scripts are inside the page, and its policy lists their hashes: nothing else can run, whatever the text says.
What comes from a model or a prompt is JSON in a script element that is not executed; the page shows it as text only.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = ("data.js", "colour.js", "elements.js", "heatmap.js", "head.js", "views.js", "backward.js", "tour.js",
           "page.js")
IN_JSON = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}  # nothing can end the script element


def page(title: str, data: dict[str, Any]) -> str:
    """Return the whole file, for the numbers of `numpygpt.inspection.explore`."""
    style = source("page.css")
    script = "".join(map(source, SCRIPTS))
    parts = {
        "policy": f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style,
        "data": json.dumps({"title": title, **data}, allow_nan=False, separators=(",", ":")).translate(IN_JSON),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], source("page.html"))


def source(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """Return the hash of a script or style as a Content-Security-Policy writes it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
