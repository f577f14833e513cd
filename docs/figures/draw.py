"""Draw the pictures of the textbook: assets/pictures/book/NAME.png.

    python docs/figures/draw.py                  all of them
    python docs/figures/draw.py graph dropout    some of them
    python docs/figures/draw.py --out FOLDER     into another folder

A figure is a function in docs/figures/chapters/ that is marked with @figure. Its name is the name of the file.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from chapters import canvas
from PIL import Image

from numpygpt.plots.output import write_file
from numpygpt.plots.style import DPI
from numpygpt.utils.paths import ROOT

CHAPTERS = sorted(path.stem for path in (Path(__file__).parent / "chapters").glob("*.py")
                  if path.stem not in ("__init__", "canvas"))


def png(name: str) -> bytes:
    """Draw a figure; return it as a PNG of at most 128 colours, which is a third of the size."""
    raw = io.BytesIO()
    canvas.FIGURES[name]().savefig(raw, dpi=DPI, format="png", metadata={"Software": None})
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def main(argv: list[str] | None = None) -> None:
    for chapter in CHAPTERS:
        importlib.import_module(f"chapters.{chapter}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(sorted(canvas.FIGURES))}")
    parser.add_argument("--out", type=Path, default=ROOT / "assets/pictures/book", metavar="FOLDER",
                        help="folder for the pictures (default: assets/pictures/book)")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(canvas.FIGURES):
        parser.error(f"no figure is named {', '.join(sorted(unknown))}; see --help")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or sorted(canvas.FIGURES):
        write_file(args.out / f"{name}.png", png(name))
        print(f"drew {name}", flush=True)


if __name__ == "__main__":
    main()
