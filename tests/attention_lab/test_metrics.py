from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import metrics

HYPOTHESES = ["the cat sat on the mat", "he reads a book", "she sleeps", "we go home now"]
REFERENCES = ["the cat sat on the mat", "he reads the book", "she is asleep", "we go home"]


def test_translation_metrics_are_those_of_sacrebleu() -> None:
    import sacrebleu

    found = metrics.translation(HYPOTHESES, REFERENCES, 200, 1)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score)
    assert found["exact_match"] == 0.25
    assert "nrefs:1|case:mixed" in found["bleu_signature"]
    assert found["score_low"] <= found["bleu"] <= found["score_high"]


def test_resampled_bleu_is_bleu_of_the_resample() -> None:
    """The interval comes from summed counts; here they are held against scoring the sentences themselves."""
    from sacrebleu.metrics import BLEU

    counts = metrics._bleu_counts(HYPOTHESES, REFERENCES)
    rows = np.array([0, 0, 1, 3])
    total = counts[rows].sum(0).tolist()
    score = BLEU.compute_bleu(correct=total[2:6], total=total[6:], sys_len=total[0], ref_len=total[1]).score
    expected = BLEU().corpus_score([HYPOTHESES[i] for i in rows], [[REFERENCES[i] for i in rows]]).score
    assert score == pytest.approx(expected)


def test_a_perfect_translation() -> None:
    found = metrics.translation(REFERENCES[:2], REFERENCES[:2], 200, 1)
    assert found["bleu"] == pytest.approx(100.0)
    assert (found["score_low"], found["score_high"]) == (pytest.approx(100.0), pytest.approx(100.0))


def test_classification_by_hand() -> None:
    truth = ["a", "a", "a", "b", "b", "c"]
    guess = ["a", "a", "b", "b", "b", "a"]
    found = metrics.classification(truth, guess, [0.9] * 6, 200, 1)
    assert found["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert found["labels"]["a"] == {"precision": 0.666667, "recall": 0.666667, "f1": 0.666667, "rows": 3}
    assert found["labels"]["b"] == {"precision": 0.666667, "recall": 1.0, "f1": 0.8, "rows": 2}
    assert found["labels"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 1}
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0.8 + 0) / 3, abs=1e-6)
    assert found["f1_weighted"] == pytest.approx((3 * 2 / 3 + 2 * 0.8) / 6, abs=1e-6)
    assert found["confusion"]["c"] == {"a": 1, "b": 0, "c": 0}
    assert found["calibration_error"] == pytest.approx(0.9 - 4 / 6, abs=1e-6)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.5, 1.0, 200_000)
    assert metrics.calibration_error(rng.uniform(size=200_000) < probability, probability) < 0.01


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(60, 400), share=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_the_interval_of_a_mean_is_that_of_theory(rows: int, share: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(size=rows) < share
    low, high = metrics.interval(lambda chosen: float(values[chosen].mean()), rows, 2000, seed)
    error = 1.96 * values.std() / np.sqrt(rows)
    assert low == pytest.approx(values.mean() - error, abs=0.2 * error + 1 / rows)
    assert high == pytest.approx(values.mean() + error, abs=0.2 * error + 1 / rows)


def test_a_file_holds_no_nan(tmp_path: Path) -> None:
    metrics.write({"b": 1.5, "a": {"ü": 2}}, tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"a": {"ü": 2}, "b": 1.5}
    with pytest.raises(ValueError, match="Out of range"):
        metrics.write({"a": float("nan")}, tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()
