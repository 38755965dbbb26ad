"""What section train switches on: each does what its paper says, and none of them breaks a promise of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_models import config
from test_segmentation import resegmented
from test_training import DATA, TASK, KilledError, fit, fresh, options, weights

from attention_lab import regularisation, training
from attention_lab.batching import Batch
from attention_lab.errors import InputError
from attention_lab.pretraining import MaskedReader, guessing
from attention_lab.regularisation import Objective, divergence, r_drop, without_words
from attention_lab.tasks import TASKS, Loss
from attention_lab.transformer import build
from attention_lab.vocabulary import MASK_ID, SPECIALS, UNK_ID

ON: dict[str, Any] = {
    "epochs": 2, "learning_rate": 2e-2, "schedule": "constant",
    "average": 0.2, "word_dropout": 0.1, "r_drop": 0.1, "multi_task": 0.3, "pretrain": 1,
}  # fmt: skip
Trained = tuple[Any, training.Result]


def everything(checkpoint: Path) -> Trained:
    torch.manual_seed(0)
    model = build(config(vocabulary=89, width=24, dropout=0.1))
    data = {"train": resegmented(0.2), "valid": resegmented(0.0).of_epoch(0)}
    return model, training.train(model, TASK, data, options(**ON), seed=5, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return everything(tmp_path_factory.mktemp("whole"))


def test_the_same_twice_with_everything_on(whole: Trained, tmp_path: Path) -> None:
    assert torch.equal(weights(whole[0]), weights(everything(tmp_path)[0]))


@pytest.mark.parametrize("steps", [3, 17, 31])
def test_with_everything_on_a_training_that_was_cut_off_ends_with_the_same_weights(
    steps: int, whole: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
            everything(tmp_path)
    torch.manual_seed(999)  # a new process has another state
    resumed, result = everything(tmp_path)
    assert torch.equal(weights(whole[0]), weights(resumed))
    assert result.metrics == whole[1].metrics
    assert result.train_curve == whole[1].train_curve


def test_the_average_is_the_weighted_mean_of_the_weights_after_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = training._Run._step
    seen: list[torch.Tensor] = []

    def watched(run: training._Run, group: list[list[int]]) -> None:
        step(run, group)
        seen.append(weights(run.model).double())

    monkeypatch.setattr(training._Run, "_step", watched)
    model, result = fit(tmp_path, average=1.5, max_steps=19)
    a_step = 1.0 / (1.5 * len(training._Run(fresh(), TASK, DATA, options(), 5, tmp_path, None).buckets))
    shares = [a_step * (1.0 - a_step) ** age for age in range(len(seen))][::-1]
    shares[0] /= a_step  # the mean starts with the first
    assert sum(shares) == pytest.approx(1.0)
    assert result.metrics["best_epoch"] == result.metrics["epochs"]  # so what is kept is the average at the end
    mean = sum(share * each for share, each in zip(shares, seen, strict=True))
    assert torch.allclose(weights(model).double(), mean, atol=1e-6)
    assert not torch.allclose(weights(model).double(), seen[-1], atol=1e-3)
    again = training._Run(model, TASK, DATA, options(), 5, tmp_path / "x", None)
    assert again.validate()[0] == pytest.approx(result.valid_curve[-1]["valid_loss"], rel=1e-6)


def test_the_average_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    _, plain = fit(tmp_path / "plain", epochs=2)
    _, average = fit(tmp_path / "average", epochs=2, average=0.5)
    assert plain.train_curve == average.train_curve
    assert plain.valid_curve[-1]["valid_loss"] != average.valid_curve[-1]["valid_loss"]


def test_so_many_words_are_dropped_and_no_special_token() -> None:
    torch.manual_seed(3)
    share, source = 0.3, torch.randint(0, 97, (211, 53))
    batch = Batch([0] * 211, source, source != 0, source + 1)
    found = without_words(batch, share)
    words = source >= len(SPECIALS)
    dropped = found.source != source
    assert (found.source[dropped] == UNK_ID).all()
    assert not dropped[~words].any()
    count = int(words.sum())
    assert abs(int(dropped.sum()) - share * count) < 4.0 * (count * share * (1.0 - share)) ** 0.5
    assert torch.equal(found.target, batch.target)
    assert torch.equal(batch.source, source)
    assert not torch.equal(without_words(batch, share).source, found.source)


def test_a_language_model_reads_without_words_and_says_the_whole_text() -> None:
    task, model = TASKS["generation"], build(config(architecture="decoder", vocabulary=97)).eval()
    source = torch.randint(len(SPECIALS), 97, (3, 7))
    batch = Batch([0] * 3, source, torch.ones(3, 7, dtype=torch.bool))
    torch.manual_seed(1)
    dropped = without_words(batch, 0.5)
    hidden, _ = model(dropped.source[:, :-1])
    expected = torch.nn.functional.cross_entropy(model.project(hidden).flatten(0, 1), source[:, 1:].flatten())
    assert task.loss(model, dropped, 0.0).nll.item() == pytest.approx(18 * expected.item(), rel=1e-5)
    assert task.loss(model, batch, 0.0).nll.item() != pytest.approx(18 * expected.item(), rel=1e-3)


@pytest.mark.parametrize("share", [0.5, None])
def test_words_are_dropped_in_training_alone(share: float | None, tmp_path: Path) -> None:
    """By itself (None) as many as the task says."""
    assert TASK.word_dropout > 0.0
    run = training._Run(fresh(dropout=0.0), TASK, DATA, options(word_dropout=share), 5, tmp_path, None)
    plain = training._Run(fresh(dropout=0.0), TASK, DATA, options(), 5, tmp_path, None)
    assert run.validate() == plain.validate()
    run._step([list(range(12))])
    plain._step([list(range(12))])
    assert run.state.window.tolist() != pytest.approx(plain.state.window.tolist(), rel=1e-5)


MODELS: dict[str, dict[str, Any]] = {
    "translation": {"architecture": "encoder_decoder"},
    "summarization": {"architecture": "encoder_decoder", "copy": True},
    "question_answering": {"architecture": "spans"},
    "generation": {"architecture": "decoder"},
    "sentiment": {"architecture": "classifier", "labels": tuple("abcdefg")},
}


def _two_passes(name: str, dropout: float) -> tuple[Any, Loss, Loss]:
    torch.manual_seed(0)
    model = build(config(**MODELS[name], vocabulary=97, dropout=dropout)).train()
    source, target = torch.randint(5, 97, (11, 7)), torch.randint(5, 97, (11, 5))
    source[:, 2] = source[:, 6] = 3  # question </s> text </s>
    span = torch.tensor([[3, 5]]).expand(11, 2)
    said = target if MODELS[name]["architecture"] == "encoder_decoder" else None
    batch = Batch([0] * 11, source, source != 0, said, torch.arange(11) % 7, span)
    return model, TASKS[name].loss(model, batch, 0.1), TASKS[name].loss(model, batch, 0.1)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [97, 97 * 5, 10**6])
def test_r_drop_is_its_equation_for_every_task(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regularisation, "CHUNK", chunk)
    model, first, second = _two_passes(name, dropout=0.3)
    logs, others = (each.project(each.states).log_softmax(-1) for each in (first, second))
    kl = torch.nn.functional.kl_div
    both = kl(others, logs, reduction="sum", log_target=True) + kl(logs, others, reduction="sum", log_target=True)
    expected = 0.5 * (first.smoothed + second.smoothed + 3.0 * 0.5 * both)
    found = r_drop(first, second, 3.0)
    assert both > 0.1
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(*(gradients(loss, model) for loss in (found, expected)), strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)


def gradients(loss: torch.Tensor, model: torch.nn.Module) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)


@pytest.mark.parametrize("name", MODELS)
def test_without_dropout_two_passes_agree(name: str) -> None:
    _, first, second = _two_passes(name, dropout=0.0)
    assert divergence(first, second).item() == 0.0
    assert r_drop(first, second, 3.0).item() == first.smoothed.item()


def test_r_drop_keeps_no_logits_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regularisation, "CHUNK", 97 * 5)
    _, first, second = _two_passes("translation", dropout=0.3)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        divergence(first, second)
    assert any(tensor.shape == (5, 12) for tensor in kept)  # states of a chunk
    assert not any(tensor.shape == (5, 97) for tensor in kept)


def test_r_drop_leaves_what_the_curves_show(tmp_path: Path) -> None:
    """The first step's loss and accuracy are those of one pass; the weights after it are others."""
    after = []
    for weight in (0.0, 2.0):
        run = training._Run(fresh(dropout=0.2), TASK, DATA, options(r_drop=weight), 5, tmp_path, None)
        run._step([list(range(12))])
        after.append((run.state.window.tolist(), weights(run.model)))
    assert after[0][0] == after[1][0]
    assert not torch.equal(after[0][1], after[1][1])


# ------------------------------------------------------------------------------------------- a second task


@pytest.mark.parametrize("name", [name for name in MODELS if name != "generation"])
def test_a_second_task_counts_as_much_beside_the_mean_of_the_first(name: str) -> None:
    torch.manual_seed(2)
    model = build(config(**MODELS[name], vocabulary=97))
    source, target = torch.randint(5, 97, (11, 7)), torch.randint(5, 97, (11, 5))
    source[:, 2] = source[:, 6] = 3
    said = target if MODELS[name]["architecture"] == "encoder_decoder" else None
    batch = Batch([0] * 11, source, source != 0, said, torch.arange(11) % 7, torch.tensor([[3, 5]]).expand(11, 2))
    alone, both = (Objective(model, TASKS[name], options(multi_task=weight)).train() for weight in (0.0, 0.5))
    torch.manual_seed(7)
    second = guessing(MaskedReader(model), batch)
    torch.manual_seed(7)
    wanted, nll, correct = both(batch, 13)
    first, *same = alone(batch, 13)
    assert second.item() > 1.0
    assert wanted.item() == pytest.approx(first.item() + 0.5 * 13 * second.item(), rel=1e-5)
    assert [nll.item(), correct.item()] == [one.item() for one in same]
    assert both.eval()(batch, 13)[0].item() == pytest.approx(nll.item(), rel=1e-5)  # not where it is validated


def test_what_is_guessed_is_what_was_hidden_and_nothing_is_nothing() -> None:
    """A reader that gives each token's own vector back is right about all that were not hidden, and those alone."""
    torch.manual_seed(3)

    class Echo(MaskedReader):
        def forward(self, source: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            self.seen = source
            return torch.nn.functional.one_hot(source, 97).float()

    reader = Echo(build(config(architecture="classifier", labels=("a", "b"), vocabulary=97)))
    reader.embedding.tokens.weight = torch.nn.Parameter(torch.eye(97) * 50.0)
    source = torch.randint(5, 97, (211, 31))
    source[:, 0], source[:, -1] = 2, 3
    batch = Batch([0] * 211, source, source != 0, None, None, None)
    found = guessing(reader, batch).item()
    changed = reader.seen != source
    words = 211 * 29
    assert not changed[:, [0, -1]].any()
    assert abs(int(changed.sum()) / words - 0.15 * 0.9) < 0.02
    assert abs(int((reader.seen == MASK_ID).sum()) / words - 0.15 * 0.8) < 0.02
    assert found == pytest.approx(50.0 * 0.9, rel=0.05)  # 50 nats for each that was changed, 0 for a tenth
    nothing = Batch([0], torch.tensor([[2, 3]]), torch.ones(1, 2, dtype=torch.bool), None, None, None)
    assert guessing(MaskedReader(build(config(architecture="classifier", labels=("a", "b")))), nothing).item() == 0.0


def test_a_language_model_has_no_second_task(tmp_path: Path) -> None:
    model = build(config(architecture="decoder", vocabulary=12))
    with pytest.raises(InputError, match=r"train\.multi_task: a language model has no encoder.*; set train.multi_task"):
        training._Run(model, TASKS["generation"], DATA, options(multi_task=0.5), 5, tmp_path, None)


def test_with_a_second_task_the_encoder_learns_to_guess(tmp_path: Path) -> None:
    """… what it does not learn from the first alone."""
    after = []
    for weight in (0.0, 1.0):
        model = fresh()
        training.train(model, TASK, DATA, options(multi_task=weight), seed=5, checkpoint=tmp_path / str(weight))
        torch.manual_seed(1)
        rows = DATA["valid"][list(range(len(DATA["valid"])))]
        with torch.no_grad():
            after.append(guessing(MaskedReader(model.eval()), rows).item())
    assert after[1] < 0.9 * after[0]
