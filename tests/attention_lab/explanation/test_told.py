"""The same texts by two models: what is said of each is of the right one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devtools import Chromium, opened
from rich.text import Text
from test_borrowed import AROUND, saved
from test_families import marian
from test_maps import predictor_of
from test_terminal import said

from attention_lab.errors import InputError
from attention_lab.explanation.page import page
from attention_lab.explanation.terminal import shown
from attention_lab.explanation.told import tell
from attention_lab.interpretation import KINDS
from attention_lab.interpretation.report import NO_WEIGHTS

TEXTS = ["the small dog sees a cat", "the old cat sleeps"]
SIGNED = KINDS["signed"][-1]


def two(at: Path, other: str, task: str = "sentiment") -> tuple[Path, Path]:
    """A model with the usual attention, and one with another mechanism and other labels."""
    folders = at / "first", at / "second"
    predictor_of(folders[0], task)
    more = {"labels": ("bad", "good")} if task == "sentiment" else {}
    predictor_of(folders[1], task, mechanism=other, **more)
    return folders


def index_of(html: str) -> dict[str, Any]:
    (found,) = re.findall(r'id="index">(.*?)</script>', html, re.DOTALL)
    return dict(json.loads(found))


def test_each_text_is_told_by_the_one_and_then_by_the_other(tmp_path: Path) -> None:
    first, second = two(tmp_path, "additive")
    lines = said(first, "--beside", str(second), *TEXTS).splitlines()
    heads = [f"{first} · scaled_dot_product", f"{second} · additive"]
    places = [number for number, line in enumerate(lines) if line in heads]
    assert [lines[number] for number in places] == heads * 2
    assert [lines[number + 1] for number in places] == [f"text: {text}" for text in TEXTS for _ in heads]
    answers = [lines[number + 2].split()[1] for number in places]
    assert set(answers[::2]) <= {"no", "yes", "perhaps"}
    assert set(answers[1::2]) <= {"bad", "good"}
    wide = shown(tell([first, second], TEXTS, measured={}), short=False, width=113)
    assert [line for line in Text.from_ansi(wide).plain.splitlines() if line.rstrip() in heads] == heads * 2


def test_lines_of_json_name_their_model_and_have_what_it_says_alone(tmp_path: Path) -> None:
    first, second = two(tmp_path, "additive")
    pair = [json.loads(line) for line in said(first, "--json", "--beside", str(second), *TEXTS).splitlines()]
    assert [line.pop("model") for line in pair] == [str(first), str(second)] * 2
    for number, folder in enumerate((first, second)):
        assert pair[number::2] == [json.loads(line) for line in said(folder, "--json", *TEXTS).splitlines()]


def test_both_are_read_by_the_method_that_was_best_for_the_first(tmp_path: Path) -> None:
    folders = two(tmp_path, "fnet")
    measured = {"task": "sentiment", "mechanism": "scaled_dot_product", "best_method": "norm"}
    told = tell(folders, TEXTS, measured=measured)
    assert [one.method for one in told] == ["norm", "norm"]
    assert [found[0].reason for _, found in told[1].answers] == ["fnet has no attention weights"] * 2


def test_models_that_are_asked_otherwise_are_refused(tmp_path: Path) -> None:
    predictor_of(tmp_path / "a", "sentiment")
    predictor_of(tmp_path / "b", "question_answering", segments=2)
    sentence = r".*/a reads a text and .*/b a question and a context; give --beside a model that reads the same"
    with pytest.raises(InputError, match=sentence):
        said(tmp_path / "a", "--beside", str(tmp_path / "b"), TEXTS[0])


def test_a_model_directory_of_transformers_stands_beside_one_of_ours(tmp_path: Path) -> None:
    predictor_of(tmp_path / "ours", "translation")
    saved(tmp_path / "theirs", marian(), AROUND["marian"])
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    told = tell(folders, TEXTS[1:], measured={}, max_tokens=5)
    for folder, one in zip(folders, told, strict=True):
        (alone,) = tell([folder], TEXTS[1:], measured={}, max_tokens=5)
        assert one.answers[0][0].outputs == alone.answers[0][0].outputs
        assert one.answers[0][1][0].scores == pytest.approx(alone.answers[0][1][0].scores)
    assert [model["folder"] for model in index_of(page(told))["models"]] == [str(folder) for folder in folders]


def test_what_holds_for_one_mechanism_is_said_of_its_model(tmp_path: Path) -> None:
    first, second = two(tmp_path, "talking_heads")
    predictor_of(second, "sentiment", mechanism="talking_heads", positions=5)
    html = page(tell([first, second], TEXTS, measured={}, every=True))
    models = index_of(html)["models"]
    assert [model["folder"] for model in models] == [str(first), str(second)]
    assert [model["mechanism"] for model in models] == ["scaled_dot_product", "talking_heads"]
    assert [model["kind"] for model in models] == ["", SIGNED]
    told = " ".join(re.sub(r"<[^>]*>", " ", html.split("<script")[0]).split())
    assert f"{second}, text 1: The text is too long" in told  # the other has room for it
    assert f"{first}, text" not in told
    about = told[told.index("About these models") :]
    assert about.index(str(first)) < about.index("scaled_dot_product") < about.index(str(second))
    assert about.index(str(second)) < about.index("talking_heads")


def test_a_page_of_one_model_names_no_folder(tmp_path: Path) -> None:
    predictor_of(tmp_path, "sentiment")
    html = page(tell([tmp_path], TEXTS, measured={}, every=True))
    assert [model["folder"] for model in index_of(html)["models"]] == [""]
    assert str(tmp_path) not in html


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    found = opened(tmp_path / "profile")
    found.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]  # what is clicked stays where it is
    found.send("Emulation.setEmulatedMedia", features=still)
    yield found
    assert found.errors == []
    found.close()


EACH = "[...document.querySelectorAll('.panel')].map((one) => one.querySelector('%s').textContent)"


def test_the_page_opens_with_both_and_they_turn_together(tmp_path: Path, browser: Chromium) -> None:
    first, second = two(tmp_path, "talking_heads", "translation")
    file = tmp_path / "two.html"
    said(first, "--beside", str(second), "--max-tokens", "7", "--html", str(file), *TEXTS)
    answers = index_of(file.read_text(encoding="utf-8"))["examples"]
    browser.open(file.as_uri())
    browser.wait("document.body.dataset.ready === 'true'")
    assert browser.value(EACH % ".whose") == [f"{first} scaled dot product", f"{second} talking heads"]
    written = EACH % ".texts dd:last-child"
    assert browser.value(written) == answers[0]["said"]
    browser.choose(".panel:nth-child(1) [name=method]", "attention")  # the weights themselves
    browser.choose(".panel:nth-child(2) [name=example]", "1")
    browser.wait(f"{written}.join() === {json.dumps(','.join(answers[1]['said']))}")
    assert [SIGNED in text for text in browser.value(EACH % ".about.note")] == [False, True]
    sides = browser.value("[...document.querySelectorAll('.panel')].map((one) => one.getBoundingClientRect().left)")
    assert sides[0] < sides[1]
    browser.click("#list li")
    browser.wait(f"{written}.join() === {json.dumps(','.join(answers[0]['said']))}")
    browser.click("#compare")
    browser.wait("document.querySelectorAll('.panel').length === 1")
    browser.click("#compare")
    browser.wait(f"{written}.join() === {json.dumps(','.join(answers[0]['said']))}")


def test_a_model_without_weights_says_so_in_its_own_panel(tmp_path: Path, browser: Chromium) -> None:
    first, second = two(tmp_path, "fnet")
    file = tmp_path / "two.html"
    said(first, "--beside", str(second), "--html", str(file), TEXTS[0])
    browser.open(file.as_uri() + "#method=attention&b.method=attention")
    browser.wait("document.body.dataset.ready === 'true'")
    assert [NO_WEIGHTS in text for text in browser.value(EACH % ".view")] == [False, True]
