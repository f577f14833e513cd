"""The page to explore, put together: one HTML file that loads nothing.

Styles and scripts stand in the page, and its policy names their hashes: nothing else can run, whatever the text says.
What comes from a model or a prompt is JSON in a script element that is no program; the page shows it as text only.
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
SCRIPTS = ("data.js", "colour.js", "elements.js", "heatmap.js", "views.js", "page.js")
IN_JSON = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}  # nothing that could end the script element


def page(title: str, data: dict[str, Any]) -> str:
    """The whole file, for the numbers of `numpygpt.inspection.explore`."""
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
    """As a Content-Security-Policy names what stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
