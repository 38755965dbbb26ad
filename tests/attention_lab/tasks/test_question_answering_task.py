"""Question answering: ends of an answer, windows of a long text, no answer."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_models import config

from attention_lab import encoding, params, training, vocabulary
from attention_lab.batching import Batch, examples
from attention_lab.records import SHAPES
from attention_lab.tasks import TASKS
from attention_lab.transformer import build, load
from attention_lab.transformer.models import same_words, segments_of
from attention_lab.transformer.spans import best_span, best_spans, ends

ROOT = Path(__file__).parents[3]
PARAMS = params.load(ROOT / "params.yaml")
TASK = TASKS["question_answering"]
SHAPE = SHAPES["question_answering"]
STORY = "Anna took the red ball. Ben went to the big kitchen. Clara saw Ben there."
ROWS = pd.DataFrame(
    {
        "row": ["x:1", "x:2", "x:3"],
        "split": [None] * 3,
        "context": [STORY, STORY, "Ben sleeps."],
        "question": ["Where is Ben?", "Who took the ball?", "Where is Anna?"],
        "answer": ["the big kitchen", "Anna", ""],
        "start": [36, 0, -1],
        "references": [["kitchen"], None, None],
        "support": [None] * 3,
    }
)


def tokenizer() -> Any:
    return vocabulary.train([STORY, *ROWS["question"]], PARAMS.vocab.model_copy(update={"min_frequency": 1}), None)


def encoded(**changes: Any) -> pd.DataFrame:
    return encoding.encode(ROWS, SHAPE, tokenizer(), [], PARAMS.encode.model_copy(update=changes))[0]


def batch(table: pd.DataFrame) -> Batch:
    return examples(table, pad=vocabulary.PAD_ID)[list(range(len(table)))]


def model() -> Any:
    torch.manual_seed(0)
    size = config(architecture="spans", task="question_answering", vocabulary=len(tokenizer()), segments=2)
    return build(size.model_copy(update={"positions": 64})).eval()


def test_an_answer_can_only_begin_and_end_in_the_text_or_be_missing() -> None:
    rows = batch(encoded())
    logs = ends(model(), rows.source, rows.source_mask)
    for ids, possible in zip(rows.source, logs[:, 0].isfinite(), strict=True):
        closing = int((ids == vocabulary.EOS_ID).nonzero()[0])
        inside = [0, *range(closing + 1, int((ids != vocabulary.PAD_ID).sum()) - 1)]
        assert possible.nonzero().flatten().tolist() == inside
    assert torch.allclose(logs.exp().sum(-1), torch.ones(3, 2))
    question = tokenizer()("Where is Anna?")["input_ids"]  # with <s> and </s>
    segments = segments_of(rows.source, model().config)[2].tolist()
    assert segments == [0] * len(question) + [1] * (len(segments) - len(question))


def test_words_of_the_text_that_the_question_has_too_are_marked() -> None:
    size = model().config.model_copy(update={"match": True, "segments": 3})
    words = tokenizer()
    ids = words("Where is Anna?", "Anna is in the park. Where?")["input_ids"]
    found = segments_of(torch.tensor([[*ids, vocabulary.PAD_ID]]), size)[0].tolist()
    tokens = [token.strip() for token in words.convert_ids_to_tokens(ids)]
    behind = tokens.index("</s>") + 1
    assert found[:behind] == [0] * behind
    marked = [token for token, kind in zip(tokens[behind:], found[behind:], strict=False) if kind == 2]
    assert set(marked) <= {"Anna", "is", "Where", "?"}
    assert {"Anna", "is"} <= set(marked)
    marked_model, mask = build(size).eval(), torch.ones(1, len(ids) + 1, dtype=torch.bool)
    source = torch.tensor([[*ids, vocabulary.PAD_ID]])
    told, _ = marked_model(source, mask, segments=torch.zeros_like(source))  # as who knows nothing of it would
    assert torch.equal(told, marked_model(source, mask)[0])
    assert found[len(ids) - 1] == 1  # the </s> behind the text is no word of the question


def test_which_words_are_the_same_and_what_attention_makes_of_that() -> None:
    """Special tokens, those for unknown words among them, are no words, and no word is its own pair."""
    ids = tokenizer()("Where is Ben?", "Ben saw Zoe, Ida and Ben.")["input_ids"]
    source = torch.tensor([[*ids, vocabulary.PAD_ID, vocabulary.PAD_ID]])
    assert ids.count(vocabulary.UNK_ID) > 1
    found = {(i, j) for _, i, j in same_words(source).nonzero().tolist()}
    ben = [place for place, token in enumerate(ids) if token == tokenizer().convert_tokens_to_ids(" Ben")]
    pairs = {(i, j) for i, j in itertools.permutations(range(len(ids)), 2) if ids[i] == ids[j]}
    assert found == {(i, j) for i, j in pairs if ids[i] >= len(vocabulary.SPECIALS)}
    assert {(i, j) for i, j in itertools.permutations(ben, 2)} <= found
    assert len(ben) > 1
    size = model().config.model_copy(update={"match": True, "segments": 3})
    told = build(size).eval()
    mask = source != vocabulary.PAD_ID
    _, seen = told(source, mask, weights=True)
    first = told.encoder.blocks[0].attention.core.position.numbers
    with torch.no_grad():
        first.zero_()
    _, before = told(source, mask, weights=True)
    one, other = ben[:2]
    assert (seen.encoder_self[0][0, 0, one, other] > 2 * before.encoder_self[0][0, 0, one, other]).all()


def test_the_loss_is_the_cross_entropy_of_both_ends_and_smoothing_stays_among_the_possible() -> None:
    rows, network = batch(encoded()), model()
    assert rows.span is not None
    logs = ends(network, rows.source, rows.source_mask)
    by_hand = -sum(float(logs[row, end, rows.span[row, end]].detach()) for row in range(3) for end in range(2))
    found = TASK.loss(network, rows, 0.0)
    assert float(found.smoothed.detach()) == pytest.approx(by_hand)
    means = [float(line[line.isfinite()].mean().detach()) for line in logs.flatten(0, 1)]
    smoothed = TASK.loss(network, rows, 0.1)
    assert float(smoothed.smoothed.detach()) == pytest.approx(0.9 * by_hand - 0.1 * sum(means), rel=1e-5)
    assert float(smoothed.nll) == pytest.approx(by_hand)


@pytest.mark.parametrize("longest", [1, 3, 20])
def test_the_best_spans_are_those_of_trying_all(longest: int) -> None:
    torch.manual_seed(3)
    logs = torch.randn(5, 2, 11)
    logs[:, :, 1:4] = -torch.inf
    first, last, best = best_spans(logs, longest, 4)
    alone = best_span(logs, longest)
    for row in range(5):
        worth = {
            (i, j): float(logs[row, 0, i] + logs[row, 1, j])
            for i, j in itertools.product(range(1, 11), repeat=2)
            if i <= j < i + longest
        }
        right = sorted(worth, key=lambda pair: -worth[pair])[:4]
        assert list(zip(first[row].tolist(), last[row].tolist(), strict=True)) == right
        assert best[row].tolist() == pytest.approx([worth[pair] for pair in right])
        assert [int(values[row]) for values in alone[:2]] == list(right[0])


def test_the_best_window_answers_and_none_must_be_likelier_everywhere() -> None:
    record = {"context": STORY}
    windows = [
        {"spans": [{"start": 0, "end": 4, "log_probability": -2.0}], "none": -0.1},
        {"spans": [{"start": 35, "end": 51, "log_probability": -0.5}], "none": -3.0},
    ]
    found = TASK.join(windows, record, PARAMS.evaluate)
    assert (found["prediction"], found["begins"]) == ("the big kitchen", 36)
    assert STORY[found["begins"] :].startswith(found["prediction"])
    assert found["probability"] == pytest.approx(math.exp(-0.5))
    sure = PARAMS.evaluate.model_copy(update={"no_answer": -2.6})
    assert TASK.join(windows, record, sure)["prediction"] == ""
    never = PARAMS.evaluate.model_copy(update={"no_answer": None})
    assert TASK.join(windows[:1], record, never)["prediction"] == "Anna"
    assert TASK.join(windows[:1], record, PARAMS.evaluate)["prediction"] == ""


def test_the_best_answers_of_windows_that_overlap() -> None:
    def span(start: int, end: int, score: float) -> dict[str, float]:
        return {"start": start, "end": end, "log_probability": score}

    windows = [
        {"spans": [span(36, 51, -1.0), span(0, 4, -1.5), span(5, 9, -6.0)], "none": -0.1},
        {"spans": [span(35, 51, -0.5), span(40, 43, -2.0), span(44, 51, -4.0)], "none": -1.7},
    ]
    found = TASK.join(windows, {"context": STORY}, PARAMS.evaluate.model_copy(update={"best": 4}))
    said = [(one["begins"], one["prediction"], math.log(one["probability"])) for one in found["candidates"]]
    assert [(begins, text) for begins, text, _ in said] == [
        (36, "the big kitchen"),
        (0, "Anna"),
        (-1, ""),  # that there is none counts as an answer too
        (40, "big"),
    ]
    assert [score for *_, score in said] == pytest.approx([-0.5, -1.5, -1.7, -2.0])
    always = PARAMS.evaluate.model_copy(update={"best": 4, "no_answer": None})
    assert "" not in [one["prediction"] for one in TASK.join(windows, {"context": STORY}, always)["candidates"]]


@pytest.mark.parametrize("rows", [2, 3])
def test_a_model_may_give_no_answer_if_it_was_trained_on_such_questions(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that lack an answer are no such questions, though they point to <s> as well."""
    windows = {"overflow": "window", "max_source_tokens": 12, "overlap": 4}
    table = encoded(**windows)
    table = table[table["row"].isin(ROWS["row"][:rows])].reset_index(drop=True)
    assert not table["span"].map(any).all()
    for name in ("train", "valid"):
        encoding.write(table, tmp_path / f"{name}.arrow")
    vocabulary.save(tokenizer(), tmp_path)
    monkeypatch.setattr(training, "train", lambda *given, **named: None)  # it is built and saved
    options = PARAMS.model_copy(update={"task": "question_answering"})
    training.fit(model().config, options, tmp_path, tmp_path, tmp_path / "model", tmp_path / "unfinished")
    network = load(tmp_path / "model")
    assert network.config.no_answer is (rows == 3)
    likely = PARAMS.evaluate.model_copy(update={"no_answer": -1000.0, "best": 3})
    found = TASK.join(TASK.predict(network, batch(table[:1]), tokenizer(), likely), {"context": STORY}, likely)
    assert (found["prediction"] == "") is (rows == 3)
    assert ("" in [one["prediction"] for one in found["candidates"]]) is (rows == 3)
    assert (found["probability_of_none"] > 0.0) is (rows == 3)


def test_a_question_whose_answer_was_cut_off_has_one() -> None:
    table = encoded(overflow="truncate", max_source_tokens=12)
    assert table["truncated"].tolist() == [True, True, False]
    assert encoding.some_have_no_answer(table)
    assert not encoding.some_have_no_answer(table[:2])


def test_any_right_answer_counts() -> None:
    said = ROWS.assign(prediction=["the kitchen", "Ben", ""])
    found = TASK.measure(said, PARAMS.evaluate, 1)
    assert found["exact_match"] == pytest.approx(2 / 3, abs=1e-5)
    assert found["no_answer_accuracy"] == 1.0
    alone = TASK.measure(said.assign(references=None), PARAMS.evaluate, 1)
    assert alone["exact_match"] == pytest.approx(1 / 3, abs=1e-5)


def test_the_classical_baseline_looks_around_the_words_of_the_question() -> None:
    train = pd.DataFrame({"answer": ["ball", "kitchen"], "question": ["", ""], "context": ["", ""]})
    context = "Emma had a lamp in the cellar. Tom carried his trumpet upstairs. Ben slept."
    test = pd.DataFrame({"question": ["Which trumpet was carried upstairs?"], "context": [context], "answer": ["his"]})
    found = TASK.baselines(train, pd.concat([test, test]), PARAMS.evaluate, 1)
    assert found["classical"]["what"] == "a sliding window of 1 word"
    assert found["classical"]["exact_match"] == 1.0
    assert found["baseline"]["exact_match"] == 0.0
