"""The page as text: no request, nothing runs but its own script, what it tells around the viewer."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from shown import CLASSED, EVALUATE, FACTS, HOSTILE, METRICS, classified, translated

from attention_lab.interpretation import story
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.report import Shown, render

WORDS = ["the", "old", "dog", "sleeps", "here"]
METHODS = {
    "norm": {
        "what": "w", "paper": "(K 2020)", "reason": None,
        "alignment_error_rate": 0.2, "alignment_error_rate_low": 0.1, "alignment_error_rate_high": 0.3,
        "sufficiency": -0.001, "sufficiency_low": -0.03, "sufficiency_high": -0.0,
    },
    "alti": {"what": "w", "paper": "(F 2022)", "reason": None, "alignment_error_rate": 0.1},
    "value_zeroing": {"what": "w", "paper": "(M 2023)", "reason": "it has no <values>"},
    "random": {"what": "w", "paper": "", "reason": None, "alignment_error_rate": 0.05, "control": True},
}  # fmt: skip
GATES = {
    "controls": {"value": 0.1, "bound": 0.9, "passed": True, "sentence": "Better than chance."},
    "seeds": {"value": None, "bound": None, "passed": None, "sentence": "There is one model."},
    "shuffled": {"value": 0.8, "bound": 0.5, "passed": False, "sentence": "Others do as well."},
}


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


def page(examples: list[Example], metrics: dict[str, Any] = METRICS, evaluate: dict[str, Any] = EVALUATE) -> str:
    return render([Shown(metrics, examples, FACTS)], evaluate=evaluate)


def told(html: str) -> str:
    """The words of a page, without its script and its style, in single spaces."""
    html = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(Page(html).text.split())


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_allows_the_script_and_the_style_by_their_hashes_and_nothing_else() -> None:
    html = page([translated(HOSTILE, WORDS)])
    (policy,) = (a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_nothing_is_loaded() -> None:
    found = Page(page([translated(HOSTILE, WORDS), classified(HOSTILE, "a", "b")]))
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in found.tags}
    for tag, attributes in found.tags:
        assert not {name for name in attributes if name in ("src", "style") or name.startswith("on")}
        assert tag == "a" or "href" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    plain = page([translated(WORDS, WORDS)])
    assert not re.search(r"https?://|@import|url\(", plain)


def test_hostile_words_stay_text() -> None:
    html = page([translated(HOSTILE, WORDS), translated(WORDS, HOSTILE, right=False)])
    assert "window.hacked=1</script>" not in html
    blocks = re.findall(r'<script type="application/json" id="example-\d">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(block)["source"]["words"] for block in blocks] == [HOSTILE, WORDS]
    assert "A & B <read> this." in told(html)


def test_a_wrong_example_comes_first_with_what_differs_marked() -> None:
    first, second = story.cards([translated(WORDS, ["der", "alte"]), translated(WORDS, ["das", "words"], right=False)])
    assert (first.number, second.number) == (2, 1)
    assert first.said == [("wrong", False), ("words", True)]
    assert first.truth == [("das", False), ("words", True)]
    assert all(same for _, same in second.said)


def test_what_stands_between_labels_is_never_wrong() -> None:
    labels = replace(classified(WORDS, "cold", "cold"), prediction="cold | wet", reference="cold", right=False)
    (card,) = story.cards([labels])
    assert card.said == [("cold", True), ("|", True), ("wet", False)]


def test_a_continuation_is_marked_from_where_it_leaves_the_text() -> None:
    text = replace(
        classified(WORDS, "", ""), reference="the old dog sees it", prediction="the old cat sees", right=None
    )
    (card,) = story.cards([text])
    assert card.said == [("the", True), ("old", True), ("cat", False), ("sees", False)]
    (card,) = story.cards([replace(text, reference="", prediction="positive")])  # nobody knows what is right
    assert card.said == [("positive", True)]


def test_a_task_and_its_score_begin_a_sentence() -> None:
    evaluate = {
        **EVALUATE,
        "examples": 1700,
        "score": 0.9,
        "score_name": "accuracy",
        "baseline": {"what": "b", "accuracy": 0},
    }
    text = told(page([classified(WORDS, "a", "b")], {**CLASSED, "task": "multi_label"}, evaluate))
    assert "Multi-label classification with scaled dot product attention Accuracy 0.900 on 1,700 test examples." in text
    assert "Accuracy on 1,700 test examples, more is better" in text
    assert [story.spelled(name) for name in ("f1_macro", "chrf")] == ["F1 macro", "chrF"]


def test_methods_stand_in_the_order_of_their_figures_and_controls_behind() -> None:
    rows = story.methods({**METRICS, "methods": METHODS})
    assert [row.name for row in rows] == ["alti", "norm", "value zeroing", "random"]
    assert [row.control for row in rows] == [False, False, False, True]
    norm = rows[1].values[0]
    assert norm is not None
    assert (norm.label, norm.low, norm.high) == ("0.20", 0.1, 0.3)
    text = told(page([translated(WORDS, WORDS)], {**METRICS, "methods": METHODS}))
    assert "– it has no <values>" in text
    assert "0.20 [0.10, 0.30]" in text
    assert "0.00 [-0.03, 0.00]" in text
    assert "-0.00" not in text


def test_where_more_is_better_the_largest_comes_first() -> None:
    found = {name: {"average_precision": value, "reason": None} for name, value in (("a", 0.5), ("b", 0.9))}
    assert [row.name for row in story.methods({"methods": found})] == ["b", "a"]


def test_gates_are_told_in_words_and_signs() -> None:
    metrics = {**METRICS, "gates": GATES, "conclusion": ["May be read as links."]}
    text = told(page([translated(WORDS, WORDS)], metrics))
    # What failed comes first, what does not apply last.
    told_ = [text.index(gate) for gate in (
        "✗ Shuffled failed Others do as well. (shuffled: 0.8, above 0.5)",
        "✓ Controls passed Better than chance. (controls: 0.1, below 0.9)",
        "– Another model is explained alike does not apply There is one model. (seeds)",
    )]  # fmt: skip
    assert told_ == sorted(told_)
    assert "Of the checks on whether to believe that, 1 of 2 failed." in text
    assert "What may be concluded, and what may not May be read as links." in text


def test_below_a_picture_stands_how_far_its_method_can_be_trusted() -> None:
    found = story.trust({"methods": METHODS, "gates": GATES})
    assert found["norm"] == (
        "On test rows: alignment error rate 0.20 [0.10, 0.30]; random scores have 0.05. "
        "Gates of this run: ✓ 1 passed, ✗ 1 failed."
    )
    assert found["attention"] == "Gates of this run: ✓ 1 passed, ✗ 1 failed."  # weights were not measured
    for variant, place in (
        ("layer 1, head 3, predicting; of each word", "layer 1, head 3, row that predicts a word"),
        ("layer 2, reading", "layer 2, mean of heads, row that reads a word"),
        ("layer 2", "layer 2, mean of heads"),
        ("layer 1, head 2, answer", "layer 1, head 2, rows of the answer"),
    ):
        weights = {"average_precision": 0.5, "variant": variant}
        assert story.trust({"methods": {"weights": weights}})["attention"] == (
            f"On test rows: average precision 0.50 for {place}. No gates were computed."
        )  # which the picture need not be of
    assert story.trust({}) == {"attention": "No gates were computed."}


def test_what_was_not_computed_is_said() -> None:
    text = told(page([translated(WORDS, WORDS)]))
    assert "None were computed in this run." in text
    assert "Methods side by side None were computed in this run." in text


def test_a_classifier_has_its_classes_to_choose_from_and_its_probability() -> None:
    evaluate = {**EVALUATE, "score_name": "accuracy", "score": 0.9, "baseline": {"what": "always", "accuracy": 0.5}}
    html = page([classified(WORDS, "good", "bad"), classified(WORDS, "bad", "bad")], CLASSED, evaluate)
    assert re.findall(r'<option value="(\w+)">\1</option>', html) == ["bad", "good"]
    assert "87.7 % sure" in told(html)
    start = json.loads(re.search(r'id="index">(.*?)</script>', html, re.DOTALL).group(1))["models"][0]["start"]
    assert (start["place"], start["layer"], start["view"]) == ("encoder_self", 1, "text")


def test_without_gold_or_examples_the_page_says_so() -> None:
    metrics = {**METRICS, "alignment": None, "reason": "no row of the test split says where to look", "reading": []}
    text = told(page([], {**metrics, "gates": GATES}))
    assert (
        "cannot be measured: no row of the test split says where to look. Of the other checks, 1 of 2 failed." in text
    )
    assert "Not measured: no row of the test split says where to look" in text
    assert "no row was read whole" in text
    assert "Point at a word" not in text
    assert "can be looked at" not in text
    shown = told(page([translated(WORDS, WORDS)], metrics))
    assert "Point at a word" in shown
    assert "says where to look. The weights can be looked at" in shown
    reason = "the mechanism has no weights"
    shown = told(page([translated(WORDS, WORDS)], {**metrics, "weights": "none", "reason": reason}))
    assert f"Not measured: {reason}. Gates between" in shown
    assert "mixes the words without giving them weights, so there are none to look at" in shown
    assert "a weighted sum" not in shown


@pytest.mark.parametrize(("row", "outlined"), [(0, [False, False, True]), (1, [False, False, False])])
def test_the_chosen_layer_and_head_are_outlined(row: int, outlined: list[bool]) -> None:
    (line,) = story.candidates(METRICS["alignment"], row)
    assert [cell.marked for cell in line] == outlined
    assert [cell.shade for cell in line] == ([12, 10, 15] if row == 0 else [2, 4, 3])


def test_the_page_says_how_words_were_linked() -> None:
    other = {**METRICS["alignment"], "way": "of each word"}
    for found in (METRICS["alignment"], other):
        text = told(page([], {**METRICS, "alignment": found, "gates": GATES}))
        assert f"Words are linked by the largest weight {found['way']}, even where" in text
