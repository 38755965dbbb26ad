"""The report as a browser shows it, from a file and without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devtools import Chromium, opened
from shown import CLASSED, EVALUATE, FACTS, HOSTILE, METRICS, classified, text, trace, translated

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.findings import Attribution
from attention_lab.interpretation.report import Shown, render
from attention_lab.interpretation.viewer import NOTHING, Scores, viewed
from attention_lab.interpretation.weights import merge

WORDS = ["the", "old", "dog", "sleeps", "here"]
SAID = ["der", "alte", "Hund", "schläft", "hier", "heute", "nicht"]
HEADS = {
    "cross": [
        {
            "layer": 2, "head": 3, "role": "the word before", "entropy": 0.5,
            "importance": 0.7, "importance_low": 0.61, "importance_high": 0.812, "ablation": 0.1,
        }
    ]
}  # fmt: skip
READY = "document.body && document.body.dataset.ready === 'true'"
PATHS = "[...document.querySelectorAll('.thread')].map(one => one.dataset.query + ' ' + one.dataset.key)"

# The contrast of a word with each shade of a chip, from −100 to 100 %, and of a number with each step of a grid.
CONTRASTS = """(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const linear = [...context.getImageData(0, 0, 1, 1).data].map((byte) =>
      byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ratio = (element) => {
    const style = getComputedStyle(element);
    const [dark, light] = [style.color, style.backgroundColor].map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const row = document.querySelector(".heat tr:last-child");
  const steps = Array.from({ length: 21 }, (_, step) => [`h${step}`, made("td", { className: `h${step}` })]);
  const chip = (k) => [`chip ${k}`, shade(made("li", { className: "chip" }), k / 100)];
  const chips = Array.from({ length: 201 }, (_, k) => chip(k - 100));
  return Object.fromEntries([...steps, ...chips].map(([name, element]) => {
    row.append(element);
    return [name, ratio(element)];
  }));
})()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    found = opened(tmp_path_factory.mktemp("profile"))
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    found.send("Network.emulateNetworkConditions", **offline)
    yield found
    found.close()


@pytest.fixture
def browser(chromium: Chromium, tmp_path: Path) -> Iterator[Chromium]:
    """Nothing is asked for but the page, and the console has nothing to say, whatever a test does."""
    chromium.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    scheme(chromium, "light")
    chromium.requests.clear()
    chromium.errors.clear()
    yield chromium
    assert chromium.errors == []
    asked = {request.split("#")[0] for request in chromium.requests if not request.startswith("data:image/svg+xml")}
    assert asked <= {(tmp_path / "report.html").as_uri()}


def scheme(browser: Chromium, name: str) -> None:
    """Light or dark; and nothing moves of itself, so that what is clicked stays where it is."""
    wanted = {"prefers-color-scheme": name, "prefers-reduced-motion": "reduce"}
    features = [{"name": feature, "value": value} for feature, value in wanted.items()]
    browser.send("Emulation.setEmulatedMedia", features=features)


def show(
    browser: Chromium, folder: Path, examples: Sequence[Example], address: str = "", metrics: Any = METRICS, **more: Any
) -> int:
    """Open a report, ready for use; its size in bytes."""
    html = render([Shown(metrics, examples, FACTS, **more)], evaluate=EVALUATE)
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    browser.send("Page.navigate", url="about:blank")
    browser.send("Page.navigate", url=file.as_uri() + address)
    browser.wait(READY)
    return len(html.encode())


def awaited(browser: Chromium, expression: str) -> Any:
    """What a promise of the page comes to."""
    found = browser.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


def texts_of(selector: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.textContent)"


def press(browser: Chromium, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=key)


def point(browser: Chromium, selector: str) -> None:
    element = f"document.querySelector({json.dumps(selector)})"
    browser.value(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    box = browser.value(f"{element}.getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def test_the_browser_decodes_and_merges_as_numpy_does(browser: Chromium, tmp_path: Path) -> None:
    example = translated(WORDS, SAID, pieces=2, signed=True)
    show(browser, tmp_path, [example])
    (seen,) = example.traces
    assert seen.source is not None
    for place, weights in seen.weights.items():
        for layer, head in ((0, 2), (1, 0), (1, None)):
            wanted = weights[layer].mean(0) if head is None else weights[layer, head]
            one = f"example.maps[example.places[0].{place}], example.bytes, {layer}, {json.dumps(head)}"
            of = f"(example) => weightsOf({one})"
            found = awaited(browser, f"open_(0).then({of}).then((matrix) => [...matrix.values])")
            error = np.abs(weights[layer]).max() * (2 if place == "cross" else 1) / 255  # of what a byte spans
            assert np.reshape(found, wanted.shape) == pytest.approx(wanted, abs=error)
        if place == "encoder_self":
            owners, words = seen.source.owners, len(WORDS)
            merging = f"merged(matrix, {json.dumps(owners)}, {json.dumps(owners)}, {words}, {words})"
            found = awaited(browser, f"open_(0).then({of}).then((matrix) => [...{merging}.values])")
            wanted = merge(weights[1].mean(0), owners, owners, query_words=words, key_words=words)
            assert np.reshape(found, (words, words)) == pytest.approx(wanted, abs=2 * error)


def test_pointer_and_focus_change_the_lines(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)], "#example=1&place=cross&view=lines&head=2&layer=1")
    everything = browser.value(PATHS)
    assert {pair.split()[0] for pair in everything} == {str(number) for number in range(len(SAID))}
    point(browser, ".token.query:nth-of-type(3) .hit")
    browser.wait(f"{PATHS}.every((pair) => pair.startsWith('1 ')) && {PATHS}.length")
    assert browser.value("document.querySelector('.status').textContent").startswith("“alte” looks at ")
    browser.value("document.querySelectorAll('.token.key')[2].focus()")
    assert {pair.split()[1] for pair in browser.value(PATHS)} == {"2"}
    press(browser, "ArrowUp")
    assert {pair.split()[1] for pair in browser.value(PATHS)} == {"1"}
    press(browser, "ArrowLeft")
    assert {pair.split()[0] for pair in browser.value(PATHS)} == {"1"}


def test_arrows_change_the_step(browser: Chromium, tmp_path: Path) -> None:
    example = translated(WORDS, SAID, right=False)
    shares = {example.row: np.linspace(0.2, 0.9, len(SAID) + 1)}
    show(browser, tmp_path, [example], "#example=1&view=steps&trace=1", known=Scores(shares=shares))
    said = "document.querySelector('.ranks .said bdi').textContent"
    assert browser.value(said) == SAID[0]
    assert "20 % from the source" in browser.value("document.querySelector('.steps').textContent")
    browser.value("document.querySelector('.panel').focus()")
    press(browser, "ArrowRight")
    browser.wait(f"{said} === {json.dumps(SAID[1])}")
    assert "30 % from the source" in browser.value("document.querySelector('.steps').textContent")
    assert "step=1" in browser.value("location.hash")
    press(browser, "ArrowLeft")
    browser.wait(f"{said} === {json.dumps(SAID[0])}")
    assert browser.value("[...document.querySelectorAll('.ranks th bdi')].map(one => one.textContent)") == [
        SAID[0],
        "other",
    ]
    browser.choose("[name=trace]", "0")
    browser.wait(f"{said} === 'wrong'")
    assert "not known for this pass" in browser.value("document.querySelector('.steps').textContent")


def test_the_slider_is_dragged_and_buttons_keep_the_focus(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID), translated(SAID, WORDS)], "#example=1&view=steps")
    browser.value("window.slider = document.querySelector('.stepper input'), slider.focus()")
    for step in (1, 2):
        browser.value(f"slider.value = {step}, slider.dispatchEvent(new Event('input', {{ bubbles: true }}))")
        browser.wait(f"location.hash.includes('step={step}')")
        assert browser.value("slider.isConnected && document.activeElement === slider")
    browser.value("document.querySelectorAll('.stepper button')[0].focus()")
    browser.value("document.activeElement.click()")
    browser.wait("location.hash.includes('step=1')")
    assert browser.value("document.activeElement.getAttribute('aria-label')") == "One step back"
    # What is drawn anew leaves the focus to its panel, whose keys go on.
    browser.value("document.querySelector('[data-view=lines]').click()")
    browser.wait("location.hash.includes('view=lines')")
    browser.value("document.querySelector('.token.query').focus()")
    press(browser, "n")
    browser.wait("document.querySelector('.panel').dataset.ready === '1'")
    assert browser.value("document.activeElement.classList.contains('panel')")


def test_the_address_leads_to_what_is_shown_after_a_link_too(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID), translated(SAID, WORDS)], "#example=1&view=matrix")
    browser.value("location.hash = '#example=2'")
    browser.wait("location.hash.includes('example=2') && location.hash.includes('view=matrix')")
    browser.value("location.hash = '#believed'")
    browser.wait("location.hash.includes('example=2') && location.hash.includes('view=matrix')")


@pytest.mark.parametrize("address", ["#query=-1&view=lines", "#view=steps&step=1.5", "#trace=-1", "#head=1.5"])
def test_an_address_that_names_nothing_shows_what_there_is(browser: Chromium, tmp_path: Path, address: str) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)], address)
    browser.wait("document.querySelector('.view').children.length")
    assert browser.value("document.querySelector('.panel [name=head]').value")


def test_cells_of_all_layers_and_heads_have_grounds_that_differ(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)])
    cells = "[...document.querySelectorAll('.heat td')]"
    grounds = browser.value(f"{cells}.map((one) => [one.className, getComputedStyle(one).backgroundColor])")
    assert len(grounds) > 1
    shades = dict(grounds)
    assert len(set(shades.values())) == len(shades) > 1


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_on_every_shade_can_be_read(browser: Chromium, tmp_path: Path, name: str) -> None:
    scheme(browser, name)
    show(browser, tmp_path, [translated(WORDS, SAID)])
    found = browser.value(CONTRASTS)
    assert len(found) == 201 + 21
    # WCAG 2.2, 1.4.3: text of this size needs a ratio of 4.5 to its ground.
    assert {which: ratio for which, ratio in found.items() if ratio < 4.5} == {}


def test_dark_changes_the_colours_and_a_button_changes_them_back(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)])
    colour = (
        "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('.thread')).stroke"
    )
    light = browser.value(colour)
    scheme(browser, "dark")
    dark = browser.value(colour)
    assert light != dark
    browser.click("#theme")
    assert browser.value(colour) == light
    browser.click("#theme")
    assert browser.value(colour) == dark
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.value(colour) == light
    browser.send("Emulation.setEmulatedMedia", media="")


def test_hostile_words_are_words(browser: Chromium, tmp_path: Path) -> None:
    examples = [translated(HOSTILE, SAID), translated(WORDS, HOSTILE, right=False), classified(HOSTILE, "<b>", "'\"")]
    for address in ("#example=1&view=lines", "#example=2&view=steps&trace=1&unit=tokens", "#example=1&view=matrix"):
        show(browser, tmp_path, examples, address)
        browser.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
        browser.wait("document.documentElement.scrollWidth <= 400")
        assert browser.value("window.hacked") is None
        assert browser.value("document.querySelectorAll('img').length") == 0
        shown = browser.value("document.querySelector('.view').textContent")
        for word in HOSTILE[1:5]:
            assert word[:8] in shown
    show(browser, tmp_path, examples, "#example=3&view=text", CLASSED)
    words = browser.value(texts_of(".chip bdi"))
    assert [word[:30] for word in words] == [word[:30] for word in HOSTILE[:5]] + ["x" * 30]
    assert browser.value("document.querySelectorAll('.chip.gold bdi').length") == 1
    assert browser.value("document.querySelector('.chip.gold bdi').textContent") == HOSTILE[1]


def test_an_address_leads_to_what_it_names_and_two_stand_side_by_side(browser: Chromium, tmp_path: Path) -> None:
    examples = [translated(WORDS, SAID, right=False), translated(SAID, WORDS)]
    scores = np.linspace(-1, 1, len(WORDS) * len(SAID)).reshape(len(WORDS), len(SAID))
    attributions = {
        examples[1].row: [Attribution("norm", scores, True), Attribution("alti", None, reason="no <values>")]
    }
    show(
        browser,
        tmp_path,
        examples,
        "#example=2&place=encoder_self&layer=2&head=3&view=matrix&b.example=2&b.method=norm&b.view=matrix",
        known=Scores(attributions),
    )
    assert browser.value("document.querySelectorAll('.panel').length") == 2
    chosen = "[...document.querySelectorAll('.panel')].map(one => one.querySelector('[name=%s]').value)"
    assert browser.value(chosen % "example") == ["1", "1"]
    assert browser.value(chosen % "layer") == ["2", "1"]
    assert browser.value(chosen % "method") == ["attention", "norm"]
    legends = "[...document.querySelectorAll('.legend')].map(one => one.className)"
    assert browser.value(legends) == ["legend", "legend signed"]
    browser.choose(".panel:nth-child(2) [name=method]", "alti")
    browser.wait("document.querySelector('.panel:nth-child(2) .nothing')?.textContent === 'no <values>'")
    browser.click("#compare")
    assert browser.value("document.querySelectorAll('.panel').length") == 1
    assert browser.value("location.hash").startswith("#example=2&place=encoder_self&layer=2&head=3")


def test_a_text_view_shows_what_the_chosen_reader_gives(browser: Chromium, tmp_path: Path) -> None:
    one = classified(WORDS, "a", "b")
    readers = {"attention of the answer": [2, 3], "attention of the question": [1]}
    metrics = {**CLASSED, "task": "question_answering"}
    metrics["rationale"] = {**metrics["rationale"], "method": "attention of the question layer 2"}
    show(browser, tmp_path, [replace(one, readers=readers)], metrics=metrics)
    weights = one.traces[0].weights["encoder_self"][1].mean(0)[:, 1:-1]
    shown = "[...panels[0].look().matrix.values]"
    assert browser.value("document.querySelector('[name=reader]').value") == "attention of the question"
    assert browser.value(shown) == pytest.approx(weights[1], abs=1 / 255)
    browser.choose("[name=reader]", "attention of the answer")
    browser.wait("location.hash.includes('answer')")
    assert browser.value(shown) == pytest.approx(weights[[2, 3]].mean(0), abs=1 / 255)


def test_gold_words_stand_out_and_a_text_begins_behind_its_question(browser: Chromium, tmp_path: Path) -> None:
    one = classified(WORDS, "a", "b")
    show(browser, tmp_path, [replace(one, traces=[replace(one.traces[0], asked=3)])], "#view=lines", CLASSED)
    assert browser.value(texts_of(".token.key.linked .word")) == [WORDS[4]]  # the second word behind the question
    browser.click("[data-view=text]")
    behind = "document.querySelector('.break + .chip bdi').textContent"
    assert browser.value(behind) == WORDS[3]
    browser.choose("[name=unit]", "tokens")
    browser.wait("document.querySelectorAll('.chip').length === 7")
    assert browser.value(behind) == WORDS[3]
    show(browser, tmp_path, [one], "#view=text", CLASSED)
    assert browser.value("document.querySelector('.break')") is None


@pytest.mark.parametrize("unit", ["words", "tokens"])
def test_a_text_that_is_read_from_right_to_left_runs_so(browser: Chromium, tmp_path: Path, unit: str) -> None:
    hebrew = ["הכלב", "רואה", "cat"]
    show(browser, tmp_path, [classified(hebrew, "a", "b")], f"#view=text&unit={unit}", CLASSED)
    starts = "[...document.querySelectorAll('.chip')].map((one) => one.getBoundingClientRect().left)"
    found = browser.value(starts)
    assert found == sorted(found, reverse=True)
    show(browser, tmp_path, [translated(hebrew, SAID)], "#view=steps")
    assert browser.value("[...document.querySelectorAll('.chips')].map((one) => one.dir)") == ["ltr", "rtl"]


def test_filters_list_what_they_say(browser: Chromium, tmp_path: Path) -> None:
    examples = [classified(WORDS[:3], "a", "b"), classified(WORDS, "b", "b"), classified(WORDS * 2, "a", "a")]
    show(browser, tmp_path, examples, metrics=CLASSED)
    listed = "[...document.querySelectorAll('#list li')].map(one => Number(one.dataset.example))"
    assert browser.value(listed) == [0, 1, 2]
    for picker, value, wanted in (("verdict", "true", [1, 2]), ("label", "a", [2]), ("verdict", "", [0, 2])):
        browser.choose(f"#filters [name={picker}]", value)
        assert browser.value(listed) == wanted
    browser.choose("#filters [name=order]", "longest")
    assert browser.value(listed) == [2, 0]
    browser.click("#list li")
    browser.wait("document.querySelector('.panel').dataset.ready === '2'")


def test_all_heads_have_their_roles_and_lead_to_their_lines(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)], "#view=heads", {**METRICS, "heads": HEADS})
    names = browser.value("[...document.querySelectorAll('.heads button')].map(one => one.getAttribute('aria-label'))")
    assert len(names) == 6
    assert names[5] == (
        "layer 2 · head 3; looks at the word before; spread 0.50 of 1; importance 0.70 (0.61 to 0.81); "
        "without it the loss grows by 0.10 nats"
    )
    browser.click(".heads button:nth-child(6)")
    browser.wait("!!document.querySelector('.lines')")
    assert "layer=2&head=3" in browser.value("location.hash")


@pytest.mark.parametrize("view", ["lines", "matrix", "steps", "heads"])
def test_a_view_is_saved_as_a_drawing_and_a_picture(browser: Chromium, tmp_path: Path, view: str) -> None:
    show(browser, tmp_path, [translated(WORDS, SAID)], f"#view={view}")
    browser.value("window.shown = document.querySelector('.view')")
    drawing = browser.value("svgText(window.shown)")
    assert browser.value(
        "!new DOMParser().parseFromString(svgText(window.shown), 'image/svg+xml').querySelector('parsererror')"
    )
    seen = {"lines": 'fill-opacity="0"', "matrix": SAID[6], "steps": ">other</text>", "heads": "head 3"}
    assert seen[view] in drawing
    assert "var(" not in drawing
    assert "class=" not in drawing
    head = awaited(
        browser,
        "pngOf(window.shown).then((blob) => blob.arrayBuffer()).then((b) => [...new Uint8Array(b.slice(0, 4))])",
    )
    assert bytes(head) == b"\x89PNG"


def test_a_page_of_a_usual_run_is_small_and_soon_ready(browser: Chromium, tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(31)]
    examples = [translated(words, words[:29], seed=number) for number in range(32)]
    size = show(browser, tmp_path, examples)
    assert size <= 5_000_000
    assert browser.value("performance.now()") <= 3000


def test_a_page_of_a_large_model_and_long_texts_stays_within_bounds(browser: Chromium, tmp_path: Path) -> None:
    long = text([f"w{number}" for number in range(254)])
    whole = translated(WORDS, WORDS)
    large = trace("both", long, long, layers=12, heads=12)
    examples = [replace(whole, traces=[large], keys=long.words, queries=long.words)] * 2
    size = show(browser, tmp_path, examples, "#example=1&layer=7&head=5&view=matrix&unit=tokens")
    assert size <= 15_000_000
    assert browser.value("performance.now()") <= 3000
    assert "16 largest weights" in browser.value("document.querySelector('.about.note').textContent")
    of = "(example) => decoded(example.maps[example.places[0].cross], example.bytes, 6, 4)"
    found = np.reshape(awaited(browser, f"open_(0).then({of}).then((matrix) => [...matrix.values])"), (255, 256))
    weights = large.weights["cross"][6, 4]
    kept = np.sort(weights, -1)[:, -16:-15] <= weights
    assert found == pytest.approx(np.where(kept, weights, 0.0), abs=weights.max() / 255)
    browser.choose("[name=example]", "1")
    browser.wait("document.querySelector('.panel').dataset.ready === '1'")
    assert "only the mean of the heads" in browser.value("document.querySelector('.about.note').textContent")


def test_what_finds_no_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [translated(WORDS, SAID, seed=number) for number in range(4)]
    whole = len(viewed(examples[:1], linked=True, known=NOTHING, own=NOTHING)[0]["blob"])
    monkeypatch.setattr("attention_lab.interpretation.viewer.ROOM", int(2.2 * whole))
    monkeypatch.setattr("attention_lab.interpretation.viewer.MOST", int(2.7 * whole))
    found = viewed(examples, linked=True, known=NOTHING, own=NOTHING)
    assert [one["only"] for one in found] == ["", "", "mean", "none"]
    half = viewed(examples, linked=True, known=NOTHING, own=NOTHING, share=0.5)  # where another model has the rest
    assert [not one["only"] for one in half] == [True, False, False, False]


def test_of_what_found_no_room_the_page_gives_the_reason(
    browser: Chromium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROOM", "MOST"):
        monkeypatch.setattr(f"attention_lab.interpretation.viewer.{name}", 0)
    show(browser, tmp_path, [translated(WORDS, SAID), translated(SAID, WORDS)], "#example=2&view=lines")
    for view in ("lines", "matrix", "heads"):
        browser.click(f".views [data-view={view}]")
        browser.wait(f"location.hash.includes('view={view}')")
        said = browser.value(texts_of(".nothing, .about.note"))
        assert said == ["To keep the page small, this example has no weights.", ""]


def test_on_a_telephone_the_figures_of_a_method_are_all_on_the_screen(browser: Chromium, tmp_path: Path) -> None:
    measures = ("alignment_error_rate", "comprehensiveness", "sufficiency")
    methods = {name: {**dict.fromkeys(measures, 0.5), "reason": None} for name in ("norm", "alti")}
    browser.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    show(browser, tmp_path, [translated(WORDS, SAID)], metrics={**METRICS, "methods": methods, "best_method": "alti"})
    cells = "[...document.querySelectorAll('.methods td')]"
    assert browser.value(f"Math.max(...{cells}.map((one) => one.getBoundingClientRect().right))") < 400
    named = browser.value(f"{cells}.map((one) => getComputedStyle(one, '::before').content)")
    assert named[:3] == ['"alignment error rate ↓"', '"comprehensiveness ↑"', '"sufficiency ↓"']
    assert browser.value(texts_of(".best")) == ["the one to read"]


def test_no_method_is_the_one_to_read_if_a_control_does_as_well(browser: Chromium, tmp_path: Path) -> None:
    methods = {name: {"alignment_error_rate": 0.5, "reason": None} for name in ("norm", "alti")}
    failed = {"random": {"passed": False, "value": 0.4, "bound": 0.5, "sentence": "No better."}}
    told = {**METRICS, "methods": methods, "best_method": "alti", "gates": failed}
    show(browser, tmp_path, [translated(WORDS, SAID)], metrics=told)
    assert browser.value(texts_of(".methods tbody strong")) == ["norm", "alti"]
    assert browser.value(texts_of(".best")) == []


@pytest.mark.parametrize("view", ["lines", "steps"])
def test_everything_that_is_used_or_read_by_itself_has_a_name(browser: Chromium, tmp_path: Path, view: str) -> None:
    methods = {"norm": {"alignment_error_rate": 0.5, "reason": None}}
    show(browser, tmp_path, [translated(WORDS, SAID)] * 2, f"#view={view}", {**METRICS, "methods": methods})
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "image", "link", "listbox", "option", "region", "slider", "table"}
    found = [(node["role"]["value"], node["name"]["value"]) for node in nodes if not node["ignored"] and "name" in node]
    assert {role for role, _ in found} >= roles - ({"slider"} if view == "lines" else {"image"})
    assert [role for role, name in found if role in roles and not name] == []


def test_a_map_says_which_side_looks_and_heads_have_no_picker_beside_them(browser: Chromium, tmp_path: Path) -> None:
    show(browser, tmp_path, [translated(["I"], ["a"])], "#view=matrix")
    assert browser.value(texts_of(".matrix .head")) == ["looked at →", "looks ↓"]
    shown = "[...document.querySelectorAll('.pickers label')].filter((one) => !one.hidden).map((one) => one.innerText)"
    assert {"layer", "head"} <= {name.split("\n")[0] for name in browser.value(shown)}
    browser.click(".views [data-view=heads]")
    browser.wait("!!document.querySelector('.heads')")
    assert not {"layer", "head"} & {name.split("\n")[0] for name in browser.value(shown)}
