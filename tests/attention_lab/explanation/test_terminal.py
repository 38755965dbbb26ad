"""What `attention-lab explain` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devtools import Chromium, opened
from rich.text import Text
from test_maps import predictor_of
from typer.testing import CliRunner

from attention_lab.cli import commands
from attention_lab.errors import InputError
from attention_lab.explanation import CAUTION
from attention_lab.explanation.page import page
from attention_lab.explanation.terminal import FOR, LEAST, shown
from attention_lab.explanation.told import Told
from attention_lab.explanation.words import Answer, Scored, answers, explain
from attention_lab.interpretation.methods import METHODS

TEXT = "the small dog sees a cat"


def said(model: Path, *arguments: str) -> str:
    metrics = str(model / "metrics")
    found = CliRunner().invoke(commands, ["explain", "--model", str(model), "--metrics", metrics, *arguments])
    if found.exception is not None:
        raise found.exception
    return found.stdout


def classified(at: Path, scores: list[float], *, signed: bool = True) -> Told:
    """A text of five words with these scores."""
    predictor = predictor_of(at, "sentiment")
    (answer,) = answers(predictor, [{"text": "the small dog sees trees"}])
    return Told(at, predictor, "occlusion", [(answer, [Scored("occlusion", np.array([scores]), signed, "", "signed")])])


def test_without_a_terminal_the_three_heaviest_words_are_told_in_plain_text(tmp_path: Path) -> None:
    told = classified(tmp_path, [0.004, -0.75, 0.0, 1.5, 0.2])
    text = shown([told], short=False, width=None)
    assert f"  {told.answers[0][0].prediction}  sees 1.50, small -0.75, trees 0.20\n" in text
    assert text.startswith("text: the small dog sees trees\n")
    assert text.endswith(CAUTION)
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [37, 113])
def test_in_a_terminal_words_are_the_darker_the_more_they_count(tmp_path: Path, width: int) -> None:
    told = classified(tmp_path, [0.02, -0.9, 0.3, 1.0, 0.6])
    written = Text.from_ansi(shown([told], short=False, width=width))
    (line,) = (one for one in written.split("\n") if " the  small " in one.plain)
    grounds: dict[str, Any] = {}
    for span in line.spans:
        style = span.style
        if not isinstance(style, str) and style.bgcolor is not None:
            grounds[line.plain[span.start : span.end].strip()] = style.bgcolor.number
    shades = [grounds.get(word) for word in ("dog", "trees", "sees")]
    assert shades == [FOR[1], FOR[2], FOR[3]]
    assert "the" not in grounds  # below LEAST of the heaviest
    assert LEAST > 0.02
    assert grounds["small"] not in FOR
    assert all(len(one.plain) <= width for one in written.split("\n"))
    assert " ".join(written.plain.split()).endswith(CAUTION)
    assert ("sees 1.00" in line.plain) == (width == 113)


def test_every_line_of_json_has_one_method(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "translation")
    lines = [json.loads(line) for line in said(tmp_path, "--json", "--all", "--max-tokens", "7", TEXT).splitlines()]
    assert [line["method"] for line in lines] == list(METHODS)
    (answer,) = answers(predictor, [{"source": TEXT}], max_tokens=7)
    for line, one in zip(lines, explain(answer, list(METHODS), {}), strict=True):
        assert line["inputs"] == {"source": TEXT}
        assert line["outputs"] == line["prediction"].split(" ")
        assert np.array(line["scores"]) == pytest.approx(one.scores, abs=1e-5)
        assert np.array(line["scores"]).shape == (len(line["outputs"]), len(line["words"]))


def test_the_method_is_the_best_of_the_last_run_unless_one_is_named(tmp_path: Path) -> None:
    predictor_of(tmp_path, "sentiment")
    assert "\nweights (layer 2): " in said(tmp_path, TEXT)
    (tmp_path / "metrics").mkdir()
    methods = {"norm": {"variant": "layer 1"}}
    measured = {"task": "sentiment", "mechanism": "scaled_dot_product", "best_method": "norm", "methods": methods}
    (tmp_path / "metrics" / "interpret.json").write_text(json.dumps(measured))
    assert "\nnorm (layer 1): the lengths of" in said(tmp_path, TEXT)
    assert "\nocclusion (signed): " in said(tmp_path, "--method", "occlusion", TEXT)


def test_what_is_not_defined_says_why_and_the_others_are_told_in_short(tmp_path: Path) -> None:
    predictor_of(tmp_path, "sentiment", mechanism="fnet")
    text = said(tmp_path, "--all", TEXT, "a cat")
    assert text.count("weights               not defined here: fnet has no attention weights\n") == 2
    assert "not defined here: fnet has no attention weights" in said(tmp_path, TEXT)
    occlusion = [line for line in text.splitlines() if line.startswith("occlusion")]
    assert len(occlusion) == 2
    assert "cat " in occlusion[1]


def test_words_of_a_language_model_have_those_before_them(tmp_path: Path) -> None:
    predictor_of(tmp_path, "generation")
    text = said(tmp_path, "--max-tokens", "4", "the old cat")
    rows = text.split("\n\n")[1].splitlines()[1:]
    assert rows[0].split()[:2] == ["old", "the"]
    assert len(rows) > 2


def test_a_continuation_that_ends_in_a_space_has_no_line_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(tmp_path, "generation")
    (answer,) = answers(predictor, [{"text": "the cat"}], 4)
    for name in ("words", "outputs"):
        monkeypatch.setattr(Answer, name, ["the", "cat", ""])
    found = Scored("weights", np.tril(np.ones((3, 3)), -1))
    text = shown([Told(tmp_path, predictor, "weights", [(answer, [found])])], short=False, width=None)
    assert text.split("\n\n")[1].splitlines()[1:] == ["  cat  the 1.00"]


def test_an_answer_has_its_context(tmp_path: Path) -> None:
    predictor_of(tmp_path, "question_answering", segments=2)
    lines = said(tmp_path, "--json", "--context", TEXT, "sees a dog", "a cat").splitlines()
    assert [json.loads(line)["inputs"]["context"] for line in lines] == [TEXT, TEXT]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--method", "guess"), "there is no method 'guess'; --method is one of weights, norm, .*, occlusion"),
        (("--method", "norm", "--all"), "give either --method or --all"),
        (("--context", "a"), "--context is for models that answer questions"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    predictor_of(tmp_path, "sentiment")
    with pytest.raises(InputError, match=sentence):
        said(tmp_path, *arguments, TEXT)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    found = opened(tmp_path / "profile")
    yield found
    found.close()


def test_the_page_opens_with_the_method_and_says_what_it_is_about(tmp_path: Path, browser: Chromium) -> None:
    predictor_of(tmp_path, "translation")
    file = tmp_path / "one.html"
    said(tmp_path, "--html", str(file), "--method", "alti", "--max-tokens", "7", TEXT)
    browser.open(file.as_uri())
    browser.wait("document.body.dataset.ready === 'true'")
    assert browser.value("document.querySelector('[name=method]').value") == "alti"
    told = browser.value("document.body.innerText")
    assert "This page is about one text." in told
    assert "metrics/report.html" in told
    assert browser.value("document.querySelector('#good') === null")
    assert browser.errors == []


def test_a_page_of_several_texts_lists_them(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "sentiment")
    told = [(one, explain(one, ["occlusion"], {})) for one in answers(predictor, [{"text": TEXT}, {"text": "a cat"}])]
    html = page([Told(tmp_path, predictor, "occlusion", told)])
    assert "This page is about a few texts." in html
    assert html.count('<article class="card">') == 2
    assert '"said":"said"' in html
