"""The page to explore in a real browser: it shows the model's numbers, by mouse and by keyboard, and runs no text."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from webdriver import CHROME, DRIVER, Browser

from numpygpt import GPT
from numpygpt.inspection import probe, trace
from numpygpt.inspection.explore import explore
from numpygpt.plots.explore import page
from numpygpt.tokenizer import CharTokenizer, WordTokenizer
from numpygpt.utils.colour import signs

pytestmark = pytest.mark.skipif(not (CHROME and DRIVER), reason="no chromium with its chromedriver here")

ROOT = Path(__file__).resolve().parents[2]
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

    def __init__(self, text, path, title="Inside a test", target=None, kind=CharTokenizer, **sizes):
        tokenizer = kind().train(f"{text} xyz")
        self.text, self.path, self.tokenizer = text, path, tokenizer
        sizes = {"max_len": 128, "d_model": 12, "n_heads": HEADS, "n_layers": LAYERS} | sizes
        self.model = GPT(vocab_size=tokenizer.vocab_size, **sizes, seed=1)
        rng = np.random.default_rng(2)
        for param in self.model.params().values():
            param += 0.4 * rng.standard_normal(param.shape).astype(param.dtype)
        self.ids = tokenizer.encode_array(text).astype(np.int64)
        self.data = explore(self.model, tokenizer, self.ids, target)
        self.attention = probe.attention_weights(self.model, self.ids)
        self.next = probe.next_probabilities(self.model, self.ids)
        text = page(title, self.data | {"facts": ["a model"], "signs": ["signs"]})
        path.write_text(text, encoding="utf-8", newline="\n")

    def gradient(self, token, target):
        """(L + 1, T)"""
        y = np.full((1, len(self.ids)), -1)
        y[0, token] = target
        return np.linalg.norm(probe.stream_gradients(self.model, self.ids[None], y)[:, 0], axis=-1)

    def backward(self, layer, head):
        """{array: numbers} of a head, for the mean loss of the text. dQ, dK and dV are the package's own."""
        attn = self.model.blocks[layer].attn
        with trace(self.model, keep=lambda name: name.endswith(("qkv", "proj"))) as t:
            self.model.loss(self.ids[None], np.array(self.data["next"]["id"])[None])
            self.model.backward()
        record, projected = t[f"blocks.{layer}.attn.qkv"], t[f"blocks.{layer}.attn.proj"].gradients[0][0]
        Q, K, V = (X[0, head].astype(float) for X in attn.split(record.outputs[0]))
        Q = Q / attn.scale if np.allclose(Q, attn.Q[0, head]) else Q  # the layer scales in place
        dQ, dK, dV = (X[0, head] for X in attn.split(record.gradients[0]))
        dO = np.split(projected @ attn.proj.W.T, HEADS, axis=1)[head]
        S = np.where(np.tri(len(Q), dtype=bool), Q @ K.T / attn.d_k**0.5, -np.inf)
        P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
        dP = dO @ V.T
        dS = P * (dP - (P * dP).sum(axis=1, keepdims=True))
        return {"Q": Q, "K": K, "V": V, "dO": dO, "S": S, "P": P, "O": P @ V,
                "dV": dV, "dP": dP, "dS": dS, "dQ": dQ, "dK": dK}


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


def signed(text):
    """The number of a text with a true minus sign."""
    return float(text.replace("−", "-"))


def click(browser, which, row, column):
    """A click on a cell of a map."""
    browser.run("""
      const map = maps[arguments[0]]; const { left, top, cell } = map.place;
      const box = map.canvas.getBoundingClientRect();
      map.canvas.dispatchEvent(new MouseEvent('click', { clientX: box.left + left + (arguments[2] + 0.5) * cell[0],
        clientY: box.top + top + (arguments[1] + 0.5) * cell[1] }))""", which, row, column)


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
    """The selected token and head."""
    return browser.run("return [...document.querySelectorAll('[aria-selected=true]')].map((at) => at.ariaLabel)")[:2]


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
    assert f"{entropy:.2f} bits" in shown.text("#next")
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
    assert {"embedding", "block 0", "block 1", "token"} <= set(written)
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


def test_all_arrays_of_a_head_are_those_of_the_model(shown, case):
    for layer, head in ((0, 0), (1, 2)):
        true = case.backward(layer, head)
        found = shown.run("""
          const arrays = headArrays(...arguments);
          return Object.entries(arrays).map(([name, { at, columns }]) => [name,
            Array.from({ length: T }, (_, i) => Array.from({ length: columns }, (_, j) => at(i, j)))]);""", layer, head)
        assert {name for name, _ in found} == set(true)
        for name, numbers in found:
            numbers = np.array(numbers, float)  # null becomes nan
            later = np.isnan(numbers)
            assert later.any() == (name in ("S", "P", "dP", "dS"))
            scale = abs(true[name][~later]).max()
            np.testing.assert_allclose(numbers[~later], true[name][~later], atol=1e-4 * scale, err_msg=name)


MADE = {  # array -> its sides: which array, and whether the sum runs along row or column i or j of it
    "S": (("Q", "row", 0), ("K", "row", 1)), "P": (("S", "row", 0),), "O": (("P", "row", 0), ("V", "column", 1)),
    "dV": (("P", "column", 0), ("dO", "column", 1)), "dP": (("dO", "row", 0), ("V", "row", 1)),
    "dS": (("P", "row", 0), ("dP", "row", 0)), "dQ": (("dS", "row", 0), ("K", "column", 1)),
    "dK": (("dS", "column", 0), ("Q", "column", 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_cell_shows_the_row_and_the_column_it_came_from_and_the_sum(shown, case, name):
    shown.click(token(6))
    shown.click('#heads button[aria-label="layer 1, head 1"]')
    shown.click(f"#arrays button:nth-of-type({list(MADE).index(name) + 1})")
    arrays, cell = case.backward(1, 1), (14, 2)
    click(shown, "made", *cell)
    last = name in ("O", "dQ", "S", "P", "dS", "dP")  # their sums, if over tokens, end at the query
    value = arrays[name][cell]
    assert signed(shown.text("#sum strong")) == pytest.approx(value, rel=0.01, abs=1e-9)
    factors = []
    for side, (array, line, index) in zip(("left", "right"), MADE[name], strict=False):
        at, (row, column, high, wide) = cell[index], shown.run(f"return maps.{side}.plan.frames[0]")
        tokens = (0, 15) if last else (14, len(VERSE))
        first, stop = tokens if name not in ("S", "dP") else (0, 4)  # over components
        assert (row, column, high, wide) == ((at, first, 1, stop - first) if line == "row" else
                                             (first, at, stop - first, 1)), side
        factors.append(arrays[array][row : row + high, column : column + wide].ravel())
    products = np.exp(factors[0] - factors[0].max()) if name == "P" else factors[0] * factors[1]
    rows = shown.run("return [...document.querySelectorAll('#terms tbody tr')].map((row) => "
                     "[...row.cells].map((cell) => cell.textContent))")  # fmt: skip
    assert signed(rows[-1][-1]) == pytest.approx(products.sum(), rel=0.01, abs=1e-9)
    listed = [row for row in rows[:-1] if "others" not in row[0]]
    for row in listed:
        n = int(row[0].split()[0]) - first
        numbers = [*(factor[n] for factor in factors), products[n]]
        assert [signed(text) for text in row[2:]] == pytest.approx(numbers, rel=0.01, abs=1e-9)
    close = 0.01 * abs(products).max()  # of three digits each
    assert sum(signed(row[-1]) for row in rows[:-1]) == pytest.approx(products.sum(), abs=close)


def test_a_click_on_a_computed_side_takes_that_apart(shown):
    shown.click(token(6))
    click(shown, "left", 20, 5)  # of dK: dS
    assert shown.run("return [ARRAYS[state.array], state.token, state.column]") == ["dS", 20, 5]
    click(shown, "right", 9, 4)  # of dS: dP
    assert shown.run("return [ARRAYS[state.array], state.token, state.column]") == ["dP", 9, 4]
    click(shown, "left", 3, 1)  # of dP: dO, which was given
    assert shown.run("return [ARRAYS[state.array], state.token, state.column]") == ["dP", 9, 4]


def test_heads_that_share_keys_show_their_own_terms(browser, tmp_path):
    case = Case("abcabc", tmp_path / "x.html", n_heads=4, n_kv_heads=2, d_model=16)
    browser.open(case.path)
    found = browser.run("""
      return [0, 1, 2, 3].map((head) => Array.from({ length: T }, (_, i) => headArrays(1, head).dK.at(i, 2)))""")
    with trace(case.model, keep=lambda name: name.endswith("qkv")) as t:
        case.model.loss(case.ids[None], np.array(case.data["next"]["id"])[None])
        case.model.backward()
    dK = case.model.blocks[1].attn.split(t["blocks.1.attn.qkv"].gradients[0])[1]  # (1, H_kv, T, d_k)
    np.testing.assert_allclose(np.array(found).reshape(2, 2, -1).sum(axis=1), dK[0, :, :, 2], atol=1e-4 * abs(dK).max())


def test_a_page_without_room_for_the_arrays_says_so(browser, tmp_path):
    case = Case("abcab", tmp_path / "x.html")
    empty = case.data["backward"] | {"layers": [], "Q": "", "K": "", "V": "", "dO": ""}
    case.path.write_text(page("x", case.data | {"backward": empty, "facts": [], "signs": []}), encoding="utf-8")
    browser.open(case.path)
    browser.click(token(2))
    shown = "return ['tour-start', 'backward-parts', 'backward-note'].map((id) => find(id).checkVisibility())"
    assert browser.run(shown) == [False, False, True]
    assert browser.console() == []


@pytest.mark.parametrize("width", [400, 1280])
def test_the_tour_goes_through_ten_parts_by_keyboard_alone(shown, width):
    shown.resize(width, 800)
    shown.press("Tab", "Enter")
    titles = set()
    for step in range(1, 11):
        shown.run(FRAME)
        assert focused(shown) == "tour-next"
        assert shown.run("return state.step") == step
        titles.add(shown.text("#tour-title"))
        box, part, head = shown.run("""
          const box = (at) => { const { left, right, top, bottom } = at.getBoundingClientRect();
                                return [left, right, top, bottom]; };
          const stop = TOUR[state.step - 1];
          return [find("tour"), find(stop.array ? "made-map" : stop.part), find("now")].map(box);""")
        assert 0 <= box[0] and box[1] <= width and head[2] == 0 and head[3] <= box[2] + 1 and box[3] < 500  # at the top
        assert box[3] < part[3] and part[2] < 700  # and the part is below
        shown.press("Enter")
    assert len(titles) == 10
    assert shown.run("return state.step") == 0 and focused(shown) == "tour-start"
    shown.press("Enter", "Tab", "Escape")
    assert shown.run("return [state.step, find('tour').hidden]") == [0, True] and focused(shown) == "tour-start"


def test_the_tour_hides_neither_the_chosen_cell_nor_the_sum(browser):
    browser.resize(1280, 720)
    browser.open("about:blank")
    browser.open(ROOT / "docs" / "explorer" / "index.html")
    browser.click("#tour-start")
    for step in range(3, 11):
        browser.run("goTo(arguments[0])", step)
        browser.run(FRAME)
        if step == 6:  # a part without a cell
            continue
        tour, cell, end = browser.run("""
          const { canvas, place } = maps.made;
          const bottom = (id) => find(id).getBoundingClientRect().bottom;
          return [bottom("tour"), canvas.getBoundingClientRect().top + place.top + state.token * place.cell[1],
                  bottom("terms")];""")
        assert tour <= cell < 700 and end <= 720, step


def test_the_tour_speaks_of_the_chosen_token_and_of_the_first(shown, case):
    shown.click("#tour-start")
    for i in (0, 9, len(VERSE) - 1):
        shown.run("goTo(1)")  # scrolls up to the text
        shown.click(token(i))
        for step in range(1, 11):
            shown.run("goTo(arguments[0])", step)
            assert not re.search("undefined|NaN|null|Infinity", shown.text("#tour-text")), step
    shown.run("change({ token: 9, layer: 1, head: 2 }); goTo(8)")
    row = case.backward(1, 2)["dS"][9, :10]
    less, more = (signed(text) for text in re.findall(r"\((−?[\d.]+(?:e-\d+)?)\)", shown.text("#tour-text")))
    assert (less, more) == pytest.approx((row.min(), row.max()), rel=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_explorer_in_docs(browser, width, scheme):
    browser.resize(width, 800)
    browser.scheme(scheme)
    browser.open("about:blank")
    browser.console()
    browser.open(ROOT / "docs" / "explorer" / "index.html")
    browser.click("#tour-start")
    for _ in range(10):
        browser.run(FRAME)
        assert browser.run("const page = document.documentElement; return page.scrollWidth - page.clientWidth") == 0
        assert min(browser.run(CONTRAST))[0] >= 4.5, min(browser.run(CONTRAST))
        browser.click("#tour-next")
    assert browser.console() == []


def test_the_last_token_has_a_target_too(browser, tmp_path):
    for target in (None, 2):
        case = Case("abcab", tmp_path / "x.html", target=target)
        browser.open(case.path)
        browser.click(token(4))
        true = case.next[-1].argmax() if target is None else target
        assert number(browser.text("#target-note")) == pytest.approx(100 * case.next[-1, true], rel=0.006)
        assert table(browser, "received") == []
    assert browser.console() == []


def test_pointing_at_a_cell_tells_its_number(shown, case):
    shown.click(token(20))
    shown.run(
        "const canvas = document.querySelector('#attention-map'); const { left, top, cell } = maps.attention.place;"
        "const box = canvas.getBoundingClientRect();"
        "canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + left + 4.5 * cell[0],"
        "  clientY: box.top + top + 11.5 * cell[1] }))")  # fmt: skip
    said = shown.text("#attention-readout")
    assert re.search(r"token 11\) .*token 4\)", said)
    assert number(said) == pytest.approx(100 * case.attention[0, 0, 11, 4], abs=0.0051)


def test_it_works_by_keyboard_alone(shown, case):
    start = int(2 * (len(VERSE) - 1) / 3)
    shown.press("Tab")
    assert focused(shown) == "tour-start"
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
    assert f"(token {row}) " in said
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
    assert "#token=5&layer=1&head=1&target=0&" in address
    shown.open("about:blank")
    shown.open(address)
    assert chosen(shown) == ["token 5: ,", "layer 1, head 1"]
    shown.run("location.hash = 'token=7&head=99&layer=x'")
    shown.run(FRAME)
    shown.run("location.hash = 'step=8'")  # of the tour
    shown.run(FRAME)
    assert shown.run("return [ARRAYS[state.array], find('tour').hidden]") == ["dS", False]
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


@pytest.mark.parametrize("width", [360, 400, 800, 1280, 1400])
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
