from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import metrics
from attention_lab.metrics.question_answering import normalised
from attention_lab.metrics.summarization import _StemmedWords, words

HYPOTHESES = ["the cat sat on the mat", "he reads a book", "she sleeps", "we go home now"]
REFERENCES = ["the cat sat on the mat", "he reads the book", "she is asleep", "we go home"]


def test_translation_metrics_are_those_of_sacrebleu() -> None:
    import sacrebleu

    found = metrics.translation(HYPOTHESES, [[text] for text in REFERENCES], 200, 1)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score)
    assert found["ter"] == pytest.approx(sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score)
    assert found["exact_match"] == 0.25
    assert "nrefs:1|case:mixed" in found["bleu_signature"]
    assert "nrefs:1|case:lc|tok:tercom" in found["ter_signature"]
    assert found["score_low"] <= found["bleu"] <= found["score_high"]


ROWS = np.array([0, 0, 1, 3])  # a resample: one row twice, one not at all


def of_rows(values: list[Any]) -> list[Any]:
    return [values[row] for row in ROWS]


def test_resampled_bleu_is_bleu_of_the_resample() -> None:
    """The interval comes from summed counts; here they are held against scoring the sentences themselves."""
    from sacrebleu.metrics import BLEU

    found = metrics.bleu_of_rows(HYPOTHESES, [[text] for text in REFERENCES])(ROWS)
    assert found == pytest.approx(BLEU().corpus_score(of_rows(HYPOTHESES), [of_rows(REFERENCES)]).score)


def test_a_headline_of_some_rows_is_that_of_a_table_of_these_rows() -> None:
    right = [[text] for text in REFERENCES]
    rouge = metrics.summarization(of_rows(HYPOTHESES), of_rows(right), of_rows(REFERENCES), 10, 1)["rouge1"]
    assert metrics.rouge1_of_rows(HYPOTHESES, right)(ROWS) == pytest.approx(rouge, abs=1e-6)
    f1 = metrics.question_answering(of_rows(HYPOTHESES), of_rows(right), 10, 1)["f1"]
    assert metrics.f1_of_answers(HYPOTHESES, right)(ROWS) == pytest.approx(f1, abs=1e-6)
    truth, guessed = ["a", "b", "a", "b"], ["a", "a", "b", "b"]
    assert metrics.accuracy_of_rows(truth, guessed)(ROWS) == 0.75
    several = [["a"], ["a", "b"], [], ["b"]], [["a", "c"], ["b"], ["a"], []]
    micro = metrics.multi_label(of_rows(several[0]), of_rows(several[1]), 10, 1)["f1_micro"]
    assert metrics.f1_of_rows(*several)(ROWS) == pytest.approx(micro, abs=1e-6)
    nats, characters = [9.0, 4.0, 50.0, 3.0], [5, 4, 3, 2]
    # (9 + 9 + 4 + 3) nats over (5 + 5 + 4 + 2) characters.
    assert metrics.probability_of_rows(nats, characters)(ROWS) == pytest.approx(math.exp(-25.0 / 16.0))


def test_one_row_has_figures_and_no_interval() -> None:
    found = metrics.translation(["the cat sat down"], [["the cat sat down"]], 100, 1)
    assert (found["bleu"], found["score_low"], found["score_high"]) == (pytest.approx(100.0), None, None)
    found = metrics.generation([6.0], [3], [4], ["a b"], 100, 1)
    assert (found["loss"], found["loss_low"], found["score_low"]) == (2.0, None, None)


def test_each_reference_counts() -> None:
    from sacrebleu.metrics import BLEU

    accepted = [["a b c d e", "a c b d"], ["e f g h"], ["x y z a", "x y z b", "x y z c"]]
    said = ["a c b d e", "e f g h", "x y z c"]
    streams = [["a b c d e", "e f g h", "x y z a"], ["a c b d", None, "x y z b"], [None, None, "x y z c"]]
    found = metrics.translation(said, accepted, 100, 1)
    assert found["bleu"] == pytest.approx(BLEU().corpus_score(said, streams).score, abs=1e-4)
    assert found["exact_match"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["bleu"] > metrics.translation(said, [texts[:1] for texts in accepted], 100, 1)["bleu"]


def test_translation_edit_rate_by_hand() -> None:
    """A moved phrase is one edit, a wrong word another; the references have seven words."""
    found = metrics.translation(["b c d a", "x f g"], [["a b c d"], ["e f g"]], 100, 1)
    assert found["ter"] == pytest.approx(100 * 2 / 7, abs=1e-6)


def test_a_perfect_translation() -> None:
    found = metrics.translation(REFERENCES[:2], [[text] for text in REFERENCES[:2]], 200, 1)
    assert found["bleu"] == pytest.approx(100.0)
    assert (found["score_low"], found["score_high"]) == (pytest.approx(100.0), pytest.approx(100.0))


def test_classification_by_hand() -> None:
    truth = ["a", "a", "a", "b", "b", "c"]
    guess = ["a", "a", "b", "b", "b", "a"]
    probabilities = [{name: 0.9 if name == said else 0.1 for name in "ab"} for said in guess]
    found = metrics.classification(truth, guess, probabilities, 200, 1)
    assert found["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert found["labels"]["a"] == {"precision": 0.666667, "recall": 0.666667, "f1": 0.666667, "rows": 3}
    assert found["labels"]["b"] == {"precision": 0.666667, "recall": 1.0, "f1": 0.8, "rows": 2}
    assert found["labels"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 1}
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0.8 + 0) / 3, abs=1e-6)
    assert found["f1_weighted"] == pytest.approx((3 * 2 / 3 + 2 * 0.8) / 6, abs=1e-6)
    assert found["confusion"]["c"] == {"a": 1, "b": 0, "c": 0}
    assert found["calibration_error"] == pytest.approx(0.9 - 4 / 6, abs=1e-6)
    # Four right, one wrong between a and b, and a label that the model does not know.
    assert found["brier_score"] == pytest.approx((4 * 0.02 + 2 * 0.81 + (0.81 + 0.01 + 1.0)) / 6, abs=1e-6)


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(3)
    names = np.array(["a", "b", "c", "d", "e"])
    shares = rng.dirichlet(np.ones(5), size=37)
    truth = rng.choice(names, size=37)
    rows = [dict(zip(names.tolist(), row, strict=True)) for row in shares.tolist()]
    found = metrics.classification(truth.tolist(), names[shares.argmax(1)].tolist(), rows, 100, 1)
    expected = brier_score_loss(truth, shares, labels=names, scale_by_half=False)
    assert found["brier_score"] == pytest.approx(expected, abs=1e-6)


def test_a_bin_of_confidence_has_its_upper_edge() -> None:
    """Bins (0, 1/2] and (1/2, 1]: right at 0.5 and wrong at 0.25 and 0.75, so (|1/2 − 0.375| · 2 + 0.75 · 1) / 3."""
    correct, confidence = np.array([True, False, False]), np.array([0.5, 0.25, 0.75])
    assert metrics.calibration_error(correct, confidence, bins=2) == pytest.approx((0.125 * 2 + 0.75) / 3)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.5, 1.0, 200_000)
    assert metrics.calibration_error(rng.uniform(size=200_000) < probability, probability) < 0.01


def test_multi_label_by_hand() -> None:
    truth = [{"a", "b"}, {"b"}, set(), {"c"}, {"a", "c"}]
    guess = [{"a", "b"}, {"a"}, {"b"}, {"c"}, {"a"}]
    found = metrics.multi_label(truth, guess, 200, 1)
    # a: 2 hits, 1 too many, 0 missed; b: 1, 1, 1; c: 1, 0, 1
    assert found["labels"]["a"] == {"precision": 0.666667, "recall": 1.0, "f1": 0.8, "rows": 2}
    assert found["labels"]["b"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2}
    assert found["labels"]["c"] == {"precision": 1.0, "recall": 0.5, "f1": 0.666667, "rows": 2}
    assert found["f1_micro"] == pytest.approx(2 * 4 / (2 * 4 + 2 + 2), abs=1e-6)
    assert found["f1_macro"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3, abs=1e-6)
    assert (found["precision_micro"], found["recall_micro"]) == (pytest.approx(4 / 6, abs=1e-6),) * 2
    assert (found["precision_macro"], found["recall_macro"]) == (
        pytest.approx((2 / 3 + 0.5 + 1) / 3, abs=1e-6),
        pytest.approx(2 / 3, abs=1e-6),
    )
    assert found["subset_accuracy"] == pytest.approx(2 / 5)
    assert found["hamming_loss"] == pytest.approx(4 / 15, abs=1e-6)
    assert found["score_low"] <= found["f1_micro"] <= found["score_high"]


def test_calibration_of_several_labels_by_hand() -> None:
    truth, guess = [{"a"}, {"a", "b"}, set(), {"b"}], [{"a"}, {"a"}, set(), set()]
    sure = [{"a": 0.9, "b": 0.3}, {"a": 0.9, "b": 0.3}, {"a": 0.1}, {"a": 0.1, "b": 0.3}]
    found = metrics.multi_label(truth, guess, 100, 1, probabilities=sure)
    # Two of 0.9 and both true; three of 0.3 of which two are; two of 0.1 and one of 0, none of them.
    gaps = 2 * 0.1 + 3 * abs(2 / 3 - 0.3) + 2 * 0.1 + 0.0
    assert found["calibration_error"] == pytest.approx(gaps / 8, abs=1e-6)
    squares = 2 * 0.1**2 + 2 * 0.7**2 + 0.3**2 + 2 * 0.1**2
    assert found["brier_score"] == pytest.approx(squares / 8, abs=1e-6)
    assert not {"calibration_error", "brier_score"} & set(metrics.multi_label(truth, guess, 100, 1))


def test_probabilities_that_are_true_of_several_labels_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    names, probability = ["a", "b", "c"], rng.uniform(size=(9973, 3))
    true = rng.uniform(size=probability.shape) < probability
    truth = [{name for name, there in zip(names, row, strict=True) if there} for row in true]
    sure = [dict(zip(names, row, strict=True)) for row in probability]
    assert metrics.multi_label(truth, truth, 100, 1, probabilities=sure)["calibration_error"] < 0.02
    turned = [{name: 1.0 - share for name, share in row.items()} for row in sure]
    assert metrics.multi_label(truth, truth, 100, 1, probabilities=turned)["calibration_error"] > 0.4


def test_the_interval_of_micro_f1_is_that_of_scoring_the_resamples() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(5)
    left, right = rng.uniform(size=(2, 41, 3)) < 0.4
    names = np.array(["a", "b", "c"])
    found = metrics.multi_label([names[row] for row in left], [names[row] for row in right], 100, 7)

    def scored(rows: np.ndarray) -> float:
        return float(f1_score(left[rows], right[rows], average="micro"))

    assert (found["score_low"], found["score_high"]) == metrics.interval(scored, 41, 100, 7)


SUMMARIES = ["police kill the gunman", "the gunman kill police", ""]
TARGETS = [["police killed the gunman"], ["gunman was jailed", "police killed the gunman"], ["nobody knows"]]
DOCUMENTS = ["Yesterday the police killed a gunman.", "The gunman!  A police-man did kill him.", "Nobody knows why."]


def test_rouge_by_hand() -> None:
    """The example of Lin 2004, section 3.1. With stems the first summary is its reference; the second has the four
    words of its better reference in another order: no pair in common but "the gunman", a subsequence of two."""
    found = metrics.summarization(SUMMARIES, TARGETS, DOCUMENTS, 200, 1)
    assert found["rouge1"] == pytest.approx((1 + 1 + 0) / 3, abs=1e-6)
    assert found["rouge2"] == pytest.approx((1 + 1 / 3 + 0) / 3, abs=1e-6)
    assert found["rougeL"] == pytest.approx((1 + 1 / 2 + 0) / 3, abs=1e-6)
    assert found["exact_match"] == 0.0
    assert found["score_low"] <= found["rouge1"] <= found["score_high"]
    assert found["rouge_signature"].startswith("nrefs:2|refs:best|f1:mean|stem:porter|words:unicode|version:")


def test_the_origin_of_a_summary_by_hand() -> None:
    found = metrics.summarization(SUMMARIES, TARGETS, DOCUMENTS, 200, 1)
    assert found["compression"] == pytest.approx((4 + 4 + 0) / (6 + 8 + 3), abs=1e-6)
    # New words: "kill" in the first. New pairs: all but "the gunman"; new triples: all.
    assert found["novelty_1"] == pytest.approx(1 / 8)
    assert found["copy_rate"] == pytest.approx(7 / 8)
    assert found["novelty_2"] == pytest.approx(5 / 6, abs=1e-6)
    assert found["novelty_3"] == 1.0
    nothing = metrics.summarization(["", ""], [["a"], ["b"]], ["a c", "b d"], 200, 1)
    assert [nothing[name] for name in ("rouge1", "compression", "novelty_1", "copy_rate")] == [0.0] * 4


def test_an_exact_match_is_one_of_the_references() -> None:
    found = metrics.summarization(["a b", "c", "d e"], [["x", "a b"], ["d"], ["d e"]], ["a", "c", "d"], 100, 1)
    assert found["exact_match"] == pytest.approx(2 / 3, abs=1e-6)
    with pytest.raises(ValueError, match="summary 2 has no reference"):
        metrics.summarization(["a", "b"], [["a"], []], ["a", "b"], 100, 1)


def test_the_words_of_rouge_are_those_of_its_package() -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    ours, theirs = _StemmedWords(), DefaultTokenizer(use_stemmer=True)

    @settings(deadline=None, max_examples=60)
    @given(text=st.text(st.characters(max_codepoint=127), max_size=60))
    def same(text: str) -> None:
        assert ours.tokenize(text) == theirs.tokenize(text)

    same()
    sentence = "Running_runners' flies, 3rd: DENIED"
    assert ours.tokenize(sentence) == theirs.tokenize(sentence) == ["run", "runner", "fli", "3rd", "deni"]


def test_rouge_reads_every_script() -> None:
    found = metrics.summarization(["Die Mühle", "собака спит"], [["die mühle"], ["собака ест"]], ["", ""], 100, 1)
    assert found["rouge1"] == pytest.approx((1 + 0.5) / 2)


def test_vowel_signs_and_accents_do_not_divide_a_word() -> None:
    for text in ("हिन्दी भाषा", "தமிழ் மொழி", "مُحَمَّد رَسول", "cafe\u0301 nai\u0308ve"):
        assert words(text) == text.split()
    assert words("ok \u2764\ufe0f_b") == ["ok", "b"]  # the sign behind an emoji is no word
    found = metrics.summarization(["हिन्दी", "நாடு"], [["हानि"], ["நீடா"]], ["", ""], 100, 1)
    assert found["rouge1"] == 0.0  # other words of the same consonants


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  U.S. Army!", "us army"),
        ("an apple a day", "apple day"),
        ("Theatre, another", "theatre another"),  # articles are whole words
        ("the", ""),
        ("a-the", "athe"),  # punctuation goes first
        ("“Läufe”", "“läufe”"),  # ASCII punctuation alone
    ],
)
def test_answers_are_normalised_as_in_squad(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


def test_question_answering_by_hand() -> None:
    predictions = ["the Denver Broncos", "in Paris, France", "to to do", "", "no"]
    references = [["Denver Broncos"], ["Rome", "Paris"], ["to do do"], ["42", "the"], ["yes", "no!"]]
    found = metrics.question_answering(predictions, references, 200, 1)
    assert found["exact_match"] == pytest.approx(2 / 5)
    # Words count as often as they occur: "to to do" and "to do do" share two of three.
    assert found["f1"] == pytest.approx((1 + 2 * (1 / 3) / (1 + 1 / 3) + 2 / 3 + 0 + 1) / 5, abs=1e-6)
    assert found["score_low"] <= found["f1"] <= found["score_high"]
    assert set(found) == {"exact_match", "f1", "score_low", "score_high"}


def test_unanswerable_questions_by_hand() -> None:
    predictions = ["", "Rome", "the", "blue sky", "", "red", "x"]
    references: list[list[str]] = [[], [""], [], ["sky"], ["grey"], ["red"], ["the"]]
    found = metrics.question_answering(predictions, references, 200, 1)
    assert (found["no_answer"], found["has_answer"]) == (3, 4)
    assert found["no_answer_accuracy"] == pytest.approx(2 / 3, abs=1e-6)  # "the" says nothing
    assert found["has_answer_exact_match"] == pytest.approx(1 / 4)
    assert found["has_answer_f1"] == pytest.approx((2 / 3 + 0 + 1 + 0) / 4, abs=1e-6)
    assert found["exact_match"] == pytest.approx(3 / 7, abs=1e-6)
    assert found["f1"] == pytest.approx((2 + 2 / 3 + 1) / 7, abs=1e-6)
    alone = metrics.question_answering(["", "a b"], [[], []], 200, 1)
    assert alone["no_answer_accuracy"] == alone["f1"] == 0.5
    assert "has_answer_f1" not in alone


def test_generation_by_hand() -> None:
    """Each token has probability 1/8, each character 1/4: three texts, 1.5 characters a token."""
    tokens, characters = [2, 4, 6], [3, 6, 9]
    nats = [count * np.log(8) for count in tokens]
    found = metrics.generation(nats, tokens, characters, ["a b a b", "a", ""], 200, 1, entropy=float(np.log(4)))
    assert found["loss"] == pytest.approx(np.log(8), abs=1e-6)
    assert found["perplexity"] == pytest.approx(8)
    assert found["bits_per_character"] == pytest.approx(2)
    assert found["character_probability"] == pytest.approx(1 / 4)
    assert (found["entropy"], found["excess"]) == (pytest.approx(np.log(4), abs=1e-6), pytest.approx(0.5))
    assert (found["distinct_1"], found["distinct_2"]) == (2 / 5, 2 / 5)  # a, b; ab, ba
    assert (found["loss_low"], found["loss_high"]) == (pytest.approx(np.log(8), abs=1e-6),) * 2
    assert (found["score_low"], found["score_high"]) == (pytest.approx(1 / 4),) * 2
    assert not {"entropy", "excess", "distinct_1"} & metrics.generation(nats, tokens, characters, [], 200, 1).keys()


def test_the_interval_of_the_loss_is_that_of_a_ratio() -> None:
    """The delta method's standard error of Σ nats / Σ tokens over texts (Cochran 1977, section 2.11)."""
    rng = np.random.default_rng(11)
    tokens = rng.integers(5, 40, 997)
    nats = rng.gamma(tokens, 2.0)
    found = metrics.generation(nats.tolist(), tokens.tolist(), (5 * tokens).tolist(), [], 2000, 1)
    loss = nats.sum() / tokens.sum()
    error = 1.96 * np.std(nats - loss * tokens) / np.sqrt(997) / tokens.mean()
    assert found["loss_low"] == pytest.approx(loss - error, abs=0.15 * error)
    assert found["loss_high"] == pytest.approx(loss + error, abs=0.15 * error)
    # Five characters a token: the probability of a character is a function of the loss, and falls with it.
    assert found["score_low"] == pytest.approx(np.exp(-found["loss_high"] / 5), abs=1e-5)
    assert found["score_high"] == pytest.approx(np.exp(-found["loss_low"] / 5), abs=1e-5)


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
