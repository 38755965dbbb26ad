"""Summarization: what is compared with what. The metrics have tests of their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from attention_lab import params
from attention_lab.tasks import TASKS

ROOT = Path(__file__).parents[3]
OPTIONS = params.load(ROOT / "params.yaml").evaluate
TRAIN = pd.DataFrame({"document": ["The cat sat. The dog ran.", "It rained all day. The dog slept."]})
TEST = pd.DataFrame(
    {
        "document": ["Rain fell. The dog and the cat and the rain. Night came.", "The dog ran."],
        "summary": ["The dog and the cat and the rain.", "A dog ran."],
    }
)


def test_the_first_and_the_most_central_sentence_are_the_baselines() -> None:
    found = TASKS["summarization"].baselines(TRAIN, TEST, OPTIONS, 1)
    assert found["classical"]["exact_match"] == 0.5  # the middle sentence holds most of what the first document says
    assert found["baseline"]["exact_match"] == 0.0
    # "dog ran" of "the dog ran" against "a dog ran": two of three words on either side
    # and of the other, "rain fell" against eight words: "rain" alone
    assert found["baseline"]["rouge1"] == pytest.approx((2 / 3 + 2 * 1 / (2 + 8)) / 2, abs=1e-6)


def test_a_summary_is_measured_against_its_own_document() -> None:
    said = TEST.assign(prediction=["The dog and the cat and the rain.", "Snow."])
    found = TASKS["summarization"].measure(said, OPTIONS, 1)
    assert found["rouge1"] == 0.5
    assert found["exact_match"] == 0.5
    assert found["copy_rate"] == pytest.approx(8 / 9, abs=1e-6)  # all words but "snow"
    assert found["score_low"] <= found["rouge1"] <= found["score_high"]
