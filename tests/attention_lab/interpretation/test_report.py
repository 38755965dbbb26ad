"""The page: no request, no script, nothing from data gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.report import cells, render

EVALUATE = {
    "task": "translation",
    "split": "test",
    "examples": 3,
    "score": 46.9,
    "score_name": "bleu",
    "score_low": 41.0,
    "score_high": 53.0,
    "baseline": {"what": "the source, untranslated", "bleu": 0.2},
}
MEASURED = {
    "error_rate": 0.25,
    "low": 0.2,
    "high": 0.3,
    "row": "predicting",
    "layer": 1,
    "head": 2,
    "random": 0.9,
    "diagonal": 0.6,
    "sentences": 3,
    "chosen_on": 3,
    "rows": {"predicting": 0.25, "input": 0.8},
    "grid": [[[0.4, 0.5, 0.25]], [[0.9, 0.8, 0.85]]],
}
METRICS: dict[str, Any] = {
    "task": "translation",
    "mechanism": "scaled_dot_product",
    "alignment": MEASURED,
    "reason": None,
    "sentences": ["alignment error rate 0.25"],
    "reading": ["A & B <read> this."],
}
HOSTILE = ['</script><script>alert("1")</script>', "שלום", "🙂", "\"quoted\" & 'single'", "<img", "https://x.example"]


def example(**changes: Any) -> Example:
    values: dict[str, Any] = {
        "row": "a<b>.csv:1",
        "source": " ".join(HOSTILE),
        "reference": "مرحبا 🙂",
        "prediction": '"></article><style>',
        "right": False,
        "probability": None,
        "keys": HOSTILE,
        "queries": ["مرحبا", "🙂"],
        "weights": np.linspace(0, 1, 12).reshape(2, 6),
        "gold": np.eye(2, 6, dtype=bool),
        "shown": "layer 1, head 2",
    }
    return Example(**(values | changes))


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(examples: list[Example], metrics: dict[str, Any] = METRICS, evaluate: dict[str, Any] = EVALUATE) -> str:
    return render(metrics, examples, evaluate=evaluate, facts={"task": "translation", "parameters": "801,920"})


def test_nothing_is_loaded_and_nothing_runs() -> None:
    html = page([example()])
    found = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not {name for name in attributes if name in ("src", "href", "style") or name.startswith("on")}
    assert not re.search(r"https?://|@import|url\(", page([example(keys=list("abcdef"), source="")]))
    assert len(html) < 100_000


def test_the_policy_allows_the_one_style_sheet_by_its_hash() -> None:
    html = page([example()])
    style = html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-" + digest + "'")
    assert html.count("<style>") == 1
    assert "prefers-color-scheme: dark" in style


def test_hostile_words_stay_text() -> None:
    found = Page(page([example()]))
    for word in [*HOSTILE, "مرحبا", '"></article><style>', "A & B <read> this."]:
        assert word in found.text


def test_cells_tell_weight_and_gold() -> None:
    table = cells(example())
    assert [len(line) for line in table] == [6, 6]
    assert [cell.text for cell in table[0]] == ["0", "9", "18", "27", "36", "45"]
    assert [cell.marked for cell in table[1]] == [False, True, False, False, False, False]
    assert (table[0][0].shade, table[1][5].shade) == (0, 20)
    assert cells(example(weights=None)) == []
    assert Page(page([example()])).text.count("(marked)") == 3  # two links and the chosen head


def test_a_classifier_shows_words_as_a_strip_with_its_probability() -> None:
    one = example(
        queries=[], weights=np.array([[0.1, 0.2, 0, 0, 0, 0]]), gold=np.eye(1, 6, dtype=bool), probability=0.87654
    )
    html = page(
        [one],
        {
            **{k: v for k, v in METRICS.items() if k != "alignment"},
            "rationale": {
                "average_precision": 0.7,
                "low": 0.6,
                "high": 0.8,
                "method": "rollout",
                "random": 0.3,
                "constant": 0.2,
                "texts": 9,
                "chosen_on": 9,
                "methods": {"attention layer 1": 0.5, "rollout": 0.7},
            },
        },
        {
            **EVALUATE,
            "score_name": "accuracy",
            "score": 0.9,
            "score_low": None,
            "score_high": None,
            "baseline": {"what": "always", "accuracy": 0.5},
        },
    )
    assert "probability 0.877" in html
    assert '<li class="h10 gold"' in html  # half of the heaviest word
    assert '<li class="h20"' in html
    assert "attention layer 1" in html


def test_without_gold_or_weights_the_page_says_so() -> None:
    metrics = {**METRICS, "alignment": None, "reason": "no row of the test split has a gold alignment", "reading": []}
    html = page([example(gold=None, weights=None, shown="this mechanism has no weights")], metrics)
    assert "Not measured: no row of the test split has a gold alignment" in html
    assert "this mechanism has no weights" in html
    assert "every row" in page([], metrics)


def test_long_texts_keep_the_page_small() -> None:
    words = [f"w{i}" for i in range(200)]
    long = example(keys=words, queries=words, weights=np.full((200, 200), 0.005), gold=None)
    html = page([long] * 8)
    assert len(html) < 1_000_000
    assert "the first 40 words" in html
