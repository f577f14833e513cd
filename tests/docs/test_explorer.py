"""docs/explorer/index.html: the committed page has the present styles and scripts, and is small."""

from pages import ROOT, load

build = load(ROOT / "docs" / "explorer" / "build.py", "explorer_build")


def test_the_page_is_that_of_the_present_scripts_and_small():
    assert build.PAGE.read_text(encoding="utf-8") == build.rebuilt(), "run python docs/explorer/build.py"
    assert build.PAGE.stat().st_size < 2_000_000
