"""The page to explore in a real browser: it shows the model's numbers, by mouse and by keyboard, and runs no text."""

import re

import matplotlib
import numpy as np
import pytest
from webdriver import CHROME, DRIVER, Browser

from numpygpt import GPT
from numpygpt.inspection import probe
from numpygpt.inspection.explore import explore
from numpygpt.plots.explore import page
from numpygpt.tokenizer import CharTokenizer, WordTokenizer
from numpygpt.utils.colour import signs

pytestmark = pytest.mark.skipif(not (CHROME and DRIVER), reason="no chromium with its chromedriver here")

VERSE = "To be, or not\nto be: that\nis it?"
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\"'&lt;\u200f你😀"
HEADS, LAYERS = 3, 2
CONTRAST = """
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    const colour = parts(getComputedStyle(node).backgroundColor);
    return colour.length === 4 && colour[3] === 0 ? behind(node.parentElement) : colour.slice(0, 3);
  };
  const found = [];
  for (const node of document.querySelectorAll("body, body *")) {
    const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!says || !node.getClientRects().length || node.tagName === "SCRIPT") continue;
    const [a, b] = [parts(getComputedStyle(node).color).slice(0, 3), behind(node)].map(light);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.tagName + "." + node.className]);
  }
  return found;"""

FRAME = "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"  # all is drawn


class Case:
    """A model, a text, its page, and what the probes say."""

    def __init__(self, text, path, title="Inside a test", target=None, kind=CharTokenizer):
        tokenizer = kind().train(f"{text} xyz")
        self.text, self.path, self.tokenizer = text, path, tokenizer
        self.model = GPT(vocab_size=tokenizer.vocab_size, max_len=128, d_model=12, n_heads=HEADS, n_layers=LAYERS,
                         seed=1)
        rng = np.random.default_rng(2)
        for param in self.model.params().values():
            param += 0.4 * rng.standard_normal(param.shape).astype(param.dtype)
        self.ids = tokenizer.encode_array(text).astype(np.int64)
        self.attention = probe.attention_weights(self.model, self.ids)
        self.next = probe.next_probabilities(self.model, self.ids)
        data = explore(self.model, tokenizer, self.ids, target)
        path.write_text(page(title, data | {"facts": ["a model"], "signs": ["signs"]}), encoding="utf-8", newline="\n")

    def gradient(self, token, target):
        """(L + 1, T)"""
        y = np.full((1, len(self.ids)), -1)
        y[0, token] = target
        return np.linalg.norm(probe.stream_gradients(self.model, self.ids[None], y)[:, 0], axis=-1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(VERSE, tmp_path_factory.mktemp("page") / "explore.html")


@pytest.fixture
def shown(browser, case):
    browser.resize(1400)
    browser.scheme("light")
    browser.open("about:blank")
    browser.console()
    browser.open(case.path)
    browser.run(FRAME)  # a key that comes before the first frame finds no page
    yield browser
    assert browser.console() == []  # no error, no warning, no violation of the policy


def token(i):
    return f"#tokens button:nth-of-type({i + 1})"


def picture(browser, canvas):
    return browser.run("return document.querySelector(arguments[0]).toDataURL()", canvas)


def number(text):
    """The number before a per cent sign."""
    return float(re.search(r"([\d.e-]+) %", text)[1])


def table(browser, name):
    """The rows of a table: [name, number]."""
    return browser.run(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) => "
        "[row.cells[0].textContent, row.cells[2].textContent])", name)  # fmt: skip


def pixels(browser, canvas):
    """(rows, columns, 4): the pixels of a canvas with one for each cell."""
    rows, columns, data = browser.run(
        f"const canvas = {canvas}; const pen = canvas.getContext('2d');"
        "const image = pen.getImageData(0, 0, canvas.width, canvas.height);"
        "return [canvas.height, canvas.width, [...image.data]]")  # fmt: skip
    return np.array(data).reshape(rows, columns, 4)


def coloured_as(found, shades, seen):
    true = matplotlib.colormaps["cividis"](shades, bytes=True)[..., :3].astype(int)
    assert found.shape[:2] == seen.shape
    assert (found[~seen] == 0).all() and (found[seen][:, 3] == 255).all()
    assert abs(found[..., :3] - true)[seen].max() <= 8


def focused(browser):
    return browser.run("const at = document.activeElement; return at.id || at.getAttribute('aria-label') || at.tagName")


def chosen(browser):
    return browser.run("return [...document.querySelectorAll('[aria-selected=true]')].map((at) => at.ariaLabel)")


def test_it_loads_without_a_word_on_the_console_and_shows_the_text(shown, case):
    assert shown.run("return document.title") == shown.text("h1") == "Inside a test"
    labels = shown.run("return [...document.querySelectorAll('#tokens button')].map((token) => token.textContent)")
    assert labels == signs(VERSE)
    assert shown.run("return document.querySelectorAll('#heads button canvas').length") == LAYERS * HEADS


def test_clicking_a_token_shows_the_numbers_of_this_token(shown, case):
    maps = ("#attention-map", "#stream-map", "#gradient-map")
    before = [picture(shown, canvas) for canvas in maps]
    shown.click(token(3))
    assert all(picture(shown, canvas) != old for canvas, old in zip(maps, before, strict=True))
    assert chosen(shown) == ["token 3: b", "layer 0, head 0"]
    p, weights = case.next[3], case.attention[0, 0]
    following = case.ids[4]
    assert f"rank {1 + (p > p[following]).sum()} of {len(p)}," in shown.text("#now")
    assert number(shown.text("#next")) == pytest.approx(100 * p[following], rel=0.006)
    assert f"surprise {-np.log2(p[following]):.2f} bits" in shown.text("#now")
    entropy = -(p[p > 0] * np.log2(p[p > 0])).sum()
    assert f"undecided by {entropy:.2f} bits" in shown.text("#next")
    rows = table(shown, "likeliest")
    order = np.argsort(-p)[:10]
    assert [row[0].split()[1] for row in rows[:10]] == ["".join(signs(case.tokenizer.decode([id]))) for id in order]
    assert [number(row[1]) for row in rows[:10]] == pytest.approx((100 * p[order]).tolist(), rel=0.006)
    paid = sorted(range(4), key=lambda i: -weights[3, i])
    assert [int(re.search(r"token (\d+)", row[0])[1]) for row in table(shown, "paid")] == paid
    assert [number(row[1]) for row in table(shown, "paid")] == pytest.approx(100 * weights[3, paid], abs=0.0051)
    later = sorted(range(4, len(VERSE)), key=lambda i: -weights[i, 3])[:5]
    assert [number(row[1]) for row in table(shown, "received")] == pytest.approx(100 * weights[later, 3], abs=0.0051)
    norms = np.linalg.norm(probe.residual_stream(case.model, case.ids), axis=-1)
    assert [float(row[1]) for row in table(shown, "norms")] == pytest.approx(norms[:, 3].tolist(), rel=0.006)


def test_clicking_a_head_shows_this_head(shown, case):
    shown.click(token(20))
    before = picture(shown, "#attention-map"), table(shown, "likeliest")
    shown.click('#heads button[aria-label="layer 1, head 2"]')
    assert chosen(shown) == ["token 20: ·", "layer 1, head 2"]
    assert shown.text("#attention-title") == "Attention in layer 1, head 2"
    assert picture(shown, "#attention-map") != before[0]
    assert table(shown, "likeliest") == before[1]  # predictions are the whole model's
    weights = case.attention[1, 2, 20]
    best = np.argsort(-weights[:21])[:5]
    assert [number(row[1]) for row in table(shown, "paid")] == pytest.approx(100 * weights[best], abs=0.0051)
    bars = shown.run("return [...document.querySelectorAll('#tokens button')].map("
                     "(at) => at.style.getPropertyValue('--weight'))")  # fmt: skip
    colours = shown.run("return [...document.querySelectorAll('#tokens button')].map("
                        "(at) => getComputedStyle(at, '::after').backgroundColor)")  # fmt: skip
    swatches = shown.run("return ['paid', 'received'].map((name) => getComputedStyle("
                         "document.querySelector(`.swatch.${name}`)).backgroundColor)")  # fmt: skip
    assert colours[:20] == [swatches[0]] * 20 and colours[21:] == [swatches[1]] * (len(VERSE) - 21)
    assert swatches[0] != swatches[1]
    expected = [*weights[:21], *case.attention[1, 2, 21:, 20]]
    assert [float(bar) ** 2 for bar in bars] == pytest.approx(expected, abs=1e-5)


def test_the_pixels_of_a_head_are_its_weights_with_the_looking_token_down_the_side(shown, case):
    found = pixels(shown, "document.querySelector('#heads button[aria-label=\"layer 1, head 0\"] canvas')")
    coloured_as(found, np.sqrt(case.attention[1, 0]), np.tri(len(VERSE), dtype=bool))


def test_the_pixels_of_the_stream_are_its_norms(shown, case):
    shown.click(token(3))
    norms = np.linalg.norm(probe.residual_stream(case.model, case.ids), axis=-1)  # (L + 1, T)
    coloured_as(pixels(shown, "maps.stream.image"), norms / norms.max(), np.ones(norms.shape, bool))
    means = shown.run("return [...document.querySelectorAll('#norms tbody tr')].map((row) => row.cells[3].textContent)")
    assert list(map(float, means)) == pytest.approx(norms.mean(axis=1).tolist(), rel=0.006)


def test_the_pixels_of_the_gradient_go_four_decades_down(shown, case):
    shown.click(token(9))
    true = case.gradient(9, case.ids[10])  # (L + 1, T): 0 behind the token that predicts
    with np.errstate(divide="ignore"):
        shades = 1 + np.log10(true / true.max()) / 4
    coloured_as(pixels(shown, "maps.gradient.image"), np.clip(shades, 0, 1), true > 0)


def test_maps_name_their_axes_and_legends_place_their_ticks(shown, case):
    shown.run("window.written = []; const fill = CanvasRenderingContext2D.prototype.fillText;"
              "CanvasRenderingContext2D.prototype.fillText = function (...at) {"
              "  written.push(at[0]); return fill.apply(this, at); }")  # fmt: skip
    shown.click(token(3))
    written = shown.run("return written")
    assert {"token that looks", "token that is looked at", "embedding", "block 0", "block 1", "token"} <= set(written)
    assert sum(text in signs(VERSE) for text in written) >= 2 * len(VERSE)  # both sides of the attention, or numbers
    ticks = shown.run("return [...document.querySelectorAll('#attention .ticks span')].map("
                      "(at) => [at.textContent, parseFloat(at.style.left)])")  # fmt: skip
    assert [text for text, _ in ticks] == ["0 %", "5 %", "20 %", "50 %", "100 %"]
    assert [left for _, left in ticks] == pytest.approx([100 * x**0.5 for x in (0, 0.05, 0.2, 0.5, 1)], abs=0.1)


def test_the_gradient_is_that_of_the_target(shown, case):
    shown.click(token(9))
    options = shown.run("return [...document.querySelectorAll('#target option')].map((at) => at.textContent)")
    p = case.next[9]
    likeliest = [id for id in np.argsort(-p) if id != case.ids[10]][:2]
    for k, target in enumerate([case.ids[10], *likeliest]):
        assert options[k].startswith("".join(signs(case.tokenizer.decode([target]))) + " (")
        shown.run("const at = document.querySelector('#target'); at.value = arguments[0];"
                  "at.dispatchEvent(new Event('change'))", k)  # fmt: skip
        assert f"the loss is {-np.log(p[target]):.3g}"[:18] in shown.text("#target-note")
        true = case.gradient(9, target)
        best = np.argsort(-true[0, :10])[:5]
        rows = table(shown, "reached")
        assert [int(re.search(r"token (\d+)", row[0])[1]) for row in rows] == best.tolist()
        assert [float(row[1]) for row in rows] == pytest.approx(true[0, best].tolist(), rel=0.006)


def test_the_last_token_has_a_target_too(browser, tmp_path):
    for target, said in ((None, "likeliest; nothing follows"), (2, "given with --target")):
        case = Case("abcab", tmp_path / "x.html", target=target)
        browser.open(case.path)
        browser.click(token(4))
        assert said in browser.text("#target option")
        true = case.next[-1].argmax() if target is None else target
        assert number(browser.text("#target-note")) == pytest.approx(100 * case.next[-1, true], rel=0.006)
        assert browser.text("#received") == "no token comes later"
    assert browser.console() == []


def test_pointing_at_a_cell_tells_its_number(shown, case):
    shown.click(token(20))
    shown.run(
        "const canvas = document.querySelector('#attention-map'); const { left, top, cell } = maps.attention.place;"
        "const box = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + left + 4.5 * cell[0],"
        "  clientY: box.top + top + 11.5 * cell[1] }))")  # fmt: skip
    said = shown.text("#attention-readout")
    assert re.search(r"token 11\) looks at .*token 4\)", said)
    assert number(said) == pytest.approx(100 * case.attention[0, 0, 11, 4], abs=0.0051)


def test_it_works_by_keyboard_alone(shown, case):
    start = int(2 * (len(VERSE) - 1) / 3)
    shown.press("Tab")
    assert focused(shown).startswith(f"token {start}:")
    shown.press("Left", "Left")
    assert focused(shown).startswith(f"token {start - 2}:")
    reached = "return [...document.querySelectorAll('#tokens [tabindex=\"0\"]')].map((at) => at.ariaLabel)"
    assert shown.run(reached) == [focused(shown)]  # the only one that Tab stops at, also on the way back
    assert chosen(shown)[0].startswith(f"token {start}:")  # the focus goes first
    assert f"(token {start - 2})" in shown.text("#tokens-readout")
    shown.press("Enter")
    assert chosen(shown)[0].startswith(f"token {start - 2}:")
    shown.press("Home", "Space")
    assert chosen(shown)[0] == "token 0: T"
    shown.press("Down")
    assert focused(shown) == "token 14: t"  # the text's second line begins there
    shown.press("Down", "Up", "End", "Right", "Space")
    assert chosen(shown)[0] == f"token {len(VERSE) - 1}: ?"
    shown.press("Tab")
    assert focused(shown) == "layer 0, head 0"
    shown.press("Up", "Left", "Down", "Right", "Right", "Enter")
    assert chosen(shown)[1] == shown.text("#attention-title").replace("Attention in ", "") == "layer 1, head 2"
    shown.press("Tab")
    assert focused(shown) == "attention-map"
    shown.press("Up", "Up", "Left", "Down", "Down")  # up from the diagonal a token would look ahead: no cell is there
    row, column = len(VERSE) - 1, len(VERSE) - 2
    said = shown.text("#attention-readout")
    assert f"(token {row}) looks at" in said
    assert number(said) == pytest.approx(100 * case.attention[1, 2, row, column], abs=0.0051)
    shown.press("Home", "Up", "Enter")
    assert chosen(shown)[0].startswith(f"token {row - 1}:")
    order = []
    for _ in range(3):
        shown.press("Tab")
        order.append(focused(shown))
    assert order == ["stream-map", "target", "gradient-map"]
    shown.press("Down")
    true = case.gradient(row - 1, case.ids[row])[1, row - 1]
    assert float(re.search(r"norm ([\d.e+-]+)", shown.text("#gradient-readout"))[1]) == pytest.approx(true, rel=0.006)


def test_the_focus_can_be_seen_wherever_it_is(shown):
    widths = []
    for _ in range(6):
        shown.press("Tab")
        widths.append(shown.run("const at = getComputedStyle(document.activeElement);"
                                "return at.outlineStyle === 'none' ? 0 : parseFloat(at.outlineWidth)"))  # fmt: skip
    assert min(widths) >= 2, widths


def test_a_view_has_an_address(shown, browser, case):
    shown.click(token(5))
    shown.click('#heads button[aria-label="layer 1, head 1"]')
    address = shown.run("return location.href")
    assert address.endswith("#token=5&layer=1&head=1&target=0")
    shown.open("about:blank")
    shown.open(address)
    assert chosen(shown) == ["token 5: ,", "layer 1, head 1"]
    shown.run("location.hash = 'token=7&head=99&layer=x'")
    shown.run(FRAME)
    assert chosen(shown) == ["token 7: o", "layer 1, head 1"]  # what is no place in this model changes nothing


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(shown, scheme):
    shown.click(token(8))
    white = picture(shown, "#attention-map")
    shown.scheme(scheme)
    shown.run(FRAME)
    found = shown.run(CONTRAST)
    assert len(found) > 100
    assert min(found)[0] >= 4.5, min(found)
    ground = shown.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    assert (picture(shown, "#attention-map") == white) == (scheme == "light")  # its names are drawn again


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_is_wider_than_the_window(shown, width):
    shown.resize(width)
    shown.run(FRAME)
    widths = "const page = document.documentElement; return [page.scrollWidth - page.clientWidth, innerWidth]"
    assert shown.run(widths) == [0, width]
    maps = "return [...document.querySelectorAll('canvas[tabindex]')].map((at) => [at.clientWidth, at.width])"
    sizes = shown.run(maps)
    assert all(0 < css == drawn <= width for css, drawn in sizes), sizes


@pytest.mark.parametrize("width", [320, 360, 1200, 1400])
def test_long_tokens_stay_within_their_cards(browser, tmp_path, width):
    case = Case("Northumberland considers unaccommodatingly, Incomprehensibilities", tmp_path / "x.html",
                kind=WordTokenizer)  # fmt: skip
    browser.resize(width)
    browser.open(case.path)
    browser.click(token(2))
    browser.run(FRAME)
    assert browser.run("const page = document.documentElement; return page.scrollWidth - page.clientWidth") == 0
    out = """return [...document.querySelectorAll('section table, section td, section th')].map((part) =>
        part.getBoundingClientRect().right - part.closest('section').getBoundingClientRect().right)"""
    assert len(found := browser.run(out)) > 20 and max(found) < 0, found


def test_the_bars_of_narrow_and_wide_tokens_compare(browser, tmp_path):
    case = Case("a Northumberland b, c", tmp_path / "x.html", kind=WordTokenizer)
    browser.open(case.path)
    bars = """return [...document.querySelectorAll('#tokens button')].map((token) =>
        [parseFloat(getComputedStyle(token, '::after').width), token.getBoundingClientRect().width])"""
    last = len(case.ids) - 1
    browser.click(token(last))
    browser.run(FRAME)
    bars, widths = map(np.array, zip(*browser.run(bars), strict=True))
    np.testing.assert_allclose(bars / 22, np.sqrt(case.attention[0, 0, last]), atol=0.03)
    assert widths.max() > 3 * widths.min()


def test_a_text_that_is_html_is_shown_and_not_run(browser, tmp_path):
    case = Case(HOSTILE, tmp_path / "x.html", title=f"Inside {HOSTILE}")
    browser.open(case.path)
    assert browser.alert() is None
    labels = browser.run("return [...document.querySelectorAll('#tokens button')].map((token) => token.textContent)")
    assert labels == signs(HOSTILE)
    assert browser.text("h1") == browser.run("return document.title") == f"Inside {HOSTILE}"
    counts = browser.run("return ['img', 'script', 'style', '#tokens *', 'h1 *'].map("
                         "(at) => document.querySelectorAll(at).length)")  # fmt: skip
    assert counts == [0, 2, 1, len(signs(HOSTILE)), 0]
    for i in (0, 20, len(case.ids) - 1):
        browser.click(token(i))
    assert (browser.alert(), browser.console()) == (None, [])


def test_the_policy_stops_what_gets_in_all_the_same(browser, case):
    """And the console's messages are seen here: the tests above would find nothing if they were not."""
    browser.open(case.path)
    assert browser.console() == []
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">');"
                "const script = document.createElement('script'); script.textContent = 'document.title = 2';"
                "document.body.append(script)")  # fmt: skip
    assert browser.run("return document.title") == "Inside a test"
    messages = " ".join(browser.console())
    assert "Content Security Policy" in messages and "script-src" in messages and "img-src" in messages


def test_one_token_and_a_long_text_are_drawn_too(browser, tmp_path):
    for text in ("a", (VERSE * 4)[:128]):
        case = Case(text, tmp_path / "x.html")
        browser.open(case.path)
        browser.click(token(len(text) - 1))
        assert chosen(browser)[0] == f"token {len(text) - 1}: {''.join(signs(text[-1]))}"
        assert len(table(browser, "norms")) == LAYERS + 1
    assert browser.console() == []
