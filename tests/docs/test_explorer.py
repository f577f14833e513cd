"""docs/explorer/index.html: the committed page has the present styles and scripts, and is small."""

from docs.explorer.build import PAGE, rebuilt


def test_the_page_is_that_of_the_present_scripts_and_small():
    assert PAGE.read_text(encoding="utf-8") == rebuilt(), "run python docs/explorer/build.py"
    assert PAGE.stat().st_size < 2_000_000
