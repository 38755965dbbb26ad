"""Pre-training: which words are hidden, what is trained, and that it can be cut off anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_models import config
from test_training import DATA, TASK, KilledError, fresh, options, weights

from attention_lab import plots, training
from attention_lab.batching import Examples
from attention_lab.errors import InputError
from attention_lab.pretraining import Masked, MaskedReader, MaskedWords, hide
from attention_lab.tasks import TASKS
from attention_lab.transformer import build
from attention_lab.vocabulary import MASK_ID, SPECIALS

VOCABULARY = 97


def texts(rows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [
        np.concatenate([[2], rng.integers(5, VOCABULARY, rng.integers(1, 41)), [3]]).astype(np.int32)
        for _ in range(rows)
    ]


def within(count: int, total: int, share: float) -> bool:
    return abs(count - share * total) < 4.0 * (total * share * (1.0 - share)) ** 0.5


def test_15_of_100_tokens_are_hidden_and_most_of_them_masked() -> None:
    rows = [row for row in texts(1009) if len(row) > 20]  # in short ones the token that has to be hidden shows
    source, target = (np.concatenate(part) for part in hide(rows, 0, VOCABULARY, np.random.default_rng(1)))
    tokens = np.concatenate(rows)
    asked = target != 0
    assert (target[asked] == tokens[asked]).all()
    assert (source[~asked] == tokens[~asked]).all()
    assert (target[tokens < len(SPECIALS)] == 0).all()
    words, hidden = int((tokens >= len(SPECIALS)).sum()), int(asked.sum())
    assert words > 15_000
    assert within(hidden, words, 0.15)
    shown = source[asked]
    assert within(int((shown == MASK_ID).sum()), hidden, 0.8)
    # Of the others, one in so many is by chance what it was.
    assert within(int((shown == tokens[asked]).sum()), hidden, 0.1 + 0.1 / (VOCABULARY - len(SPECIALS)))
    assert shown.min() >= MASK_ID


def test_in_every_text_something_is_hidden() -> None:
    rows = [*texts(53), np.array([2, 3], dtype=np.int32)]
    source, target = hide(rows, 0, VOCABULARY, np.random.default_rng(2))
    assert [len(row) for row in source] == [len(row) for row in target] == [len(row) for row in rows]
    assert all((row != 0).any() for row in target)


def test_epochs_hide_other_words_and_always_the_same() -> None:
    examples = Examples(texts(11), pad=0)
    first, again = Masked(examples, VOCABULARY, seed=5), Masked(examples, VOCABULARY, seed=5)
    rows = list(range(11))
    assert torch.equal(first[rows].source, again[rows].source)
    second = first.of_epoch(1)
    assert not torch.equal(first[rows].target, second[rows].target)
    assert torch.equal(second[rows].target, again.of_epoch(3).of_epoch(1)[rows].target)
    assert not torch.equal(first[rows].target, Masked(examples, VOCABULARY, seed=6)[rows].target)
    assert second.predictions([3, 7]) == int((second[[3, 7]].target != 0).sum())


@pytest.mark.parametrize("architecture", ["encoder_decoder", "classifier", "spans"])
def test_the_loss_is_the_cross_entropy_of_the_hidden_words_with_the_embedding_as_output(architecture: str) -> None:
    labels = ("a", "b", "c") if architecture == "classifier" else ()
    model = build(config(architecture=architecture, vocabulary=VOCABULARY, labels=labels)).eval()
    batch = Masked(Examples(texts(11), pad=0), VOCABULARY, seed=5)[list(range(11))]
    hidden, _ = model.encoder(model.embedding(batch.source), batch.source_mask)
    logits = hidden @ model.embedding.tokens.weight.T
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.target.flatten(), ignore_index=0, reduction="sum"
    )
    found = MaskedWords().loss(MaskedReader(model), batch, 0.0)
    assert found.nll.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_language_model_has_nothing_to_pretrain(tmp_path: Path) -> None:
    model = build(config(architecture="decoder", vocabulary=12))
    with pytest.raises(InputError, match=r"train\.pretrain: a language model has no encoder"):
        training.train(model, TASKS["generation"], DATA, options(pretrain=1), seed=5, checkpoint=tmp_path)


def rhymes(rows: int, seed: int) -> Examples:
    """Texts in which every word stands twice: what is hidden can be read beside it."""
    rng = np.random.default_rng(seed)
    found = [np.repeat(rng.integers(5, 12, rng.integers(2, 5)), 2) for _ in range(rows)]
    copies = [np.concatenate([[2], row, [3]]).astype(np.int32) for row in found]
    return Examples(copies, copies, pad=0)


def learn(checkpoint: Path, log: Any = None, **changes: Any) -> tuple[Any, training.Result]:
    model = fresh()
    data = {"train": rhymes(90, 1), "valid": rhymes(20, 2)}
    chosen = options(**{"epochs": 2, "pretrain": 3, "tokens_per_batch": 240} | changes)
    return model, training.train(model, TASK, data, chosen, seed=5, checkpoint=checkpoint, log=log)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, training.Result, list[dict[str, float]]]:
    logged: list[dict[str, float]] = []
    return *learn(tmp_path_factory.mktemp("whole"), lambda step, values: logged.append(values)), logged


def test_its_loss_falls_and_is_a_curve_of_its_own(
    whole: tuple[Any, training.Result, list[dict[str, float]]], tmp_path: Path
) -> None:
    _, result, logged = whole
    assert [point["epoch"] for point in result.pretrain_curve] == [1, 2, 3]
    assert result.pretrain_curve[-1]["valid_loss"] < 0.95 * result.pretrain_curve[0]["valid_loss"]
    assert [values["pretrain_valid_loss"] for values in logged if "pretrain_valid_loss" in values] == [
        point["valid_loss"] for point in result.pretrain_curve
    ]
    assert result.metrics["pretrain_loss"] == pytest.approx(
        min(point["valid_loss"] for point in result.pretrain_curve), abs=1e-6
    )
    _, plain = learn(tmp_path, pretrain=0)
    assert plain.pretrain_curve == []
    assert result.metrics.keys() - plain.metrics.keys() == {"pretrain_loss"}
    for name, one in (("with", result), ("without", plain)):
        plots.training(one.train_curve, one.valid_curve, one.pretrain_curve, tmp_path / name)
    assert len((tmp_path / "with" / "pretraining.csv").read_text(encoding="utf-8").splitlines()) == 1 + 3
    assert not (tmp_path / "without" / "pretraining.csv").exists()
    assert result.metrics["steps"] == plain.metrics["steps"]
    assert result.valid_curve[-1]["valid_loss"] != plain.valid_curve[-1]["valid_loss"]


def test_embedding_and_encoder_are_what_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, torch.Tensor]] = []
    run = training._Run.run

    def watched(self: training._Run) -> training.Result:
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return run(self)

    monkeypatch.setattr(training._Run, "run", watched)
    model, chosen = fresh(), options(pretrain=1, epochs=1)
    training.train(model, TASK, DATA, chosen, seed=5, checkpoint=tmp_path)
    before, after = states
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"embedding", "encoder"}


@pytest.mark.parametrize("steps", [2, 11, 20])
def test_cut_off_in_either_phase_it_ends_with_the_same_weights(
    steps: int,
    whole: tuple[Any, training.Result, list[dict[str, float]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, done = training._Run._step, 0

    def dying(run: training._Run, group: list[list[int]]) -> None:
        nonlocal done
        if done == steps:
            raise KilledError
        done += 1
        step(run, group)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_step", dying)
        with pytest.raises(KilledError):
            learn(tmp_path)
    torch.manual_seed(999)  # a new process has another state
    resumed, result = learn(tmp_path)
    assert torch.equal(weights(whole[0]), weights(resumed))
    assert result.metrics == whole[1].metrics
    assert result.pretrain_curve == whole[1].pretrain_curve
