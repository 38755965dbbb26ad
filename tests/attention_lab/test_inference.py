"""A trained model for new text: its best answers, and what it writes as it is written."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_demo import TASKS, TEXT, folder
from test_models import config

from attention_lab import params, vocabulary
from attention_lab.decoding import beam_search
from attention_lab.errors import InputError
from attention_lab.inference import Predictor
from attention_lab.transformer import build, save

ROOT = Path(__file__).parents[2]
TEXTS = [TEXT, "a cat sees", "the dog and the old cat sleeps ."]


def predictor(at: Path, task: str) -> Predictor:
    """With large weights, so that it says different things."""
    model = folder(at, task)
    found = Predictor(model)
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in found.model.parameters():
            if parameter.requires_grad and parameter.dim() > 1:
                parameter.mul_(3.0)
    return found


def test_the_best_translations_are_those_of_the_search(tmp_path: Path) -> None:
    found = predictor(tmp_path, "translation")
    for text, answer in zip(TEXTS, found.predict(TEXTS, best=3, beams=5, max_tokens=9), strict=True):
        ids = torch.tensor([found.tokenizer(text)["input_ids"]])
        (wanted,) = beam_search(
            found.model, ids, ids > 0, beams=5, length_penalty=1.0, max_tokens=9, max_ratio=2.0, n_best=3
        )
        spelled = [found.tokenizer.decode(one.tokens, skip_special_tokens=True) for one in wanted]
        assert [one["prediction"] for one in answer["candidates"]] == list(dict.fromkeys(spelled))
        assert answer["candidates"][0] == {name: answer[name] for name in ("prediction", "log_probability")}
        assert answer["log_probability"] == pytest.approx(wanted[0].log_probability, abs=1e-4)
    few = found.predict(TEXTS[:1], best=3, max_tokens=9)[0]  # at least three beams
    assert few["candidates"] == found.predict(TEXTS[:1], best=3, beams=3, max_tokens=9)[0]["candidates"]
    assert "candidates" not in found.predict(TEXTS[:1], beams=3)[0]


def test_the_best_classes_are_the_most_probable(tmp_path: Path) -> None:
    found = predictor(tmp_path, "sentiment")
    for answer in found.predict(TEXTS, best=2):
        ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
        assert [(one["prediction"], one["probability"]) for one in answer["candidates"]] == ranked[:2]
        assert answer["prediction"] == ranked[0][0]
    assert len(found.predict(TEXTS[:1], best=7)[0]["candidates"]) == 3  # there are no more


def test_the_best_answers_of_all_windows_differ(tmp_path: Path) -> None:
    found = predictor(tmp_path, "question_answering")
    context = " ".join([TEXT] * 5)
    (answer,) = found.predict([{"question": "the cat", "context": context}], best=13, max_tokens=4)
    places = [(one["begins"], one["prediction"]) for one in answer["candidates"]]
    assert len(set(places)) == len(places) == 13
    shares = [one["probability"] for one in answer["candidates"]]
    assert shares == sorted(shares, reverse=True)
    for begins, text in places:
        assert context[begins:].startswith(text) if begins >= 0 else text == ""
    assert answer["candidates"][0] == {name: answer[name] for name in ("prediction", "begins", "probability")}


@pytest.mark.parametrize(
    ("task", "why"), [("multi_label", "each label is decided on its own"), ("generation", "draws a text at random")]
)
def test_where_there_are_no_best_answers_it_is_said(tmp_path: Path, task: str, why: str) -> None:
    with pytest.raises(InputError, match=f"there are no 2 best answers: .*{why}"):
        predictor(tmp_path, task).predict(TEXTS, best=2)


def writer(at: Path, task: str, tokenizer: str, *, shared: bool = True) -> Predictor:
    """A model that writes with the tokens of one kind of tokenizer, or with those of another of that kind."""
    torch.manual_seed(7)
    options = params.Vocab(tokenizer=tokenizer, shared=True, size=60, min_frequency=1, max_unknown_share=1.0)
    words = vocabulary.train([f"{TEXT} and sleeps, sleepily! 3.14"], options, None)
    own = None if shared else vocabulary.train(["DER alte HUND, und SCHLÄFT; 2.71!"], options, None)
    sizes = {"vocabulary": len(words), "target_vocabulary": None if own is None else len(own)}
    model = build(config(architecture=TASKS[task], task=task, **sizes))
    with torch.no_grad():
        (model.embedding if shared else model.target_embedding).tokens.weight.mul_(3.0)
    save(model, at / "model")
    vocabulary.save(words, at / "model", own)
    return Predictor(at / "model")


@pytest.mark.parametrize("tokenizer", ["word", "character", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize(("task", "shared"), [("translation", True), ("translation", False), ("generation", True)])
def test_what_is_streamed_is_what_is_predicted(tmp_path: Path, task: str, shared: bool, tokenizer: str) -> None:
    found = writer(tmp_path, task, tokenizer, shared=shared)
    options: dict[str, Any] = {"max_tokens": 11}
    if task == "generation":
        options |= {"temperature": 1.3, "top_p": 0.95}
    predicted = [answer["prediction"] for answer in found.predict(TEXTS, **options)]
    streamed = ["".join(found.stream(text, number=n, **options)) for n, text in enumerate(TEXTS)]
    assert streamed == predicted
    assert any(predicted)
    if not shared:  # the letters of its own vocabulary
        assert set("".join(predicted)) <= set("DER alte HUND, und SCHLÄFT; 2.71! <unk>")
        assert set("".join(predicted)) & set("DERHUNSCLÄFT;271")


def test_a_folder_without_the_targets_tokenizer_is_refused_with_a_sentence(tmp_path: Path) -> None:
    writer(tmp_path, "translation", "word", shared=False)
    shutil.rmtree(tmp_path / "model" / "target")
    with pytest.raises(InputError, match=r"model/target/tokenizer\.json: there is no such file"):
        Predictor(tmp_path / "model")


def test_a_tokenizer_of_another_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    model = folder(tmp_path, "translation")
    options = params.Vocab(tokenizer="word", shared=True, size=100, min_frequency=1, max_unknown_share=1.0)
    vocabulary.save(vocabulary.train([f"{TEXT} and sleeps . More words"], options, None), model)
    with pytest.raises(InputError, match=r"tokenizer of 17 entries and a model that knows 15: they are of different"):
        Predictor(model)


@pytest.mark.parametrize("tokenizer", ["word", "character"])
def test_a_language_model_goes_on_with_the_end_of_what_is_too_long_to_read_at_once(
    tmp_path: Path, tokenizer: str
) -> None:
    found = writer(tmp_path, "generation", tokenizer)
    long = " ".join([TEXT] * 40) + " a cat"
    ids = found.tokenizer(long)["input_ids"]
    assert len(ids) > 2 * found.model.config.positions
    (answer,) = found.predict([long], max_tokens=9, temperature=0.0)
    assert answer["truncated"] is True
    assert answer["tokens"] == len(ids) - 1  # what surprises is all of it
    read = [n for n in range(5, len(long)) if answer["prediction"].startswith(long[-n:])]  # so many characters of it
    assert read
    assert len(answer["prediction"]) > read[-1]
    assert "".join(found.stream(long, max_tokens=9, temperature=0.0)) == answer["prediction"]
    (short,) = found.predict([TEXT], max_tokens=9, temperature=0.0)
    assert short["truncated"] is False


def test_another_seed_draws_another_text(tmp_path: Path) -> None:
    found = writer(tmp_path, "generation", "word")
    drawn = [
        [answer["prediction"] for answer in found.predict(TEXTS, max_tokens=23, temperature=1.5, seed=seed)]
        for seed in (0, 7, 7)
    ]
    assert drawn[1] == drawn[2] != drawn[0]
    assert "".join(found.stream(TEXTS[0], max_tokens=23, temperature=1.5, seed=7)) == drawn[1][0]


def test_each_piece_comes_before_the_next_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = predictor(tmp_path, "translation")
    steps = itertools.count(1)
    taken: list[int] = []
    step = found.model.step
    monkeypatch.setattr(found.model, "step", lambda *arguments: (taken.append(next(steps)), step(*arguments))[1])
    pieces = found.stream(TEXT, max_tokens=9)
    next(pieces)
    assert taken == [1]
    next(pieces)
    assert taken == [1, 2]


@pytest.mark.parametrize("task", ["sentiment", "multi_label", "question_answering"])
def test_who_does_not_write_cannot_be_streamed(tmp_path: Path, task: str) -> None:
    found = predictor(tmp_path, task)
    with pytest.raises(InputError, match=f"a model of {task} gives its answer all at once"):
        next(found.stream({"text": TEXT, "question": TEXT, "context": TEXT}))


@pytest.mark.parametrize("task", ["translation", "generation"])
def test_the_rules_of_params_hold_for_what_is_written(tmp_path: Path, task: str) -> None:
    """A model that says the same words again and again says none twice where that is forbidden, and says enough."""
    found = writer(tmp_path, task, "word")

    def written(**rules: Any) -> list[str]:
        (answer,) = found.predict([TEXT], max_tokens=20, max_ratio=9.0, temperature=0.0, **rules)
        return re.findall(r"\w+|[^\w\s]", answer["prediction"])[len(TEXT.split()) * (task == "generation") :]

    free = written(min_tokens=9)
    assert len(free) > len(set(free))
    once = written(min_tokens=5, no_repeat_ngram=1)
    assert len(once) == len(set(once)) >= 5
    assert len(set(written(min_tokens=9, repetition_penalty=9.0))) > len(set(free))


def test_what_is_no_text_is_refused_and_nothing_is_nothing(tmp_path: Path) -> None:
    found = predictor(tmp_path, "sentiment")
    assert found.predict([]) == []
    for given in (None, 5, float("nan"), " ", {"text": None}, {"text": 5}, {}, ["a cat"]):
        with pytest.raises(InputError, match="input 2: the text is empty or missing; give at least one word"):
            found.predict([TEXT, given])
    with pytest.raises(InputError, match="input 1: the text is not UTF-8"):
        found.predict(["\ud83d"])
