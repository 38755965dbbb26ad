"""Training: what it learns, that it can be cut off anywhere, and that processes and batches do not change the loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_models import config

from attention_lab import training, vocabulary
from attention_lab.batching import Examples
from attention_lab.errors import InputError
from attention_lab.params import Train, load
from attention_lab.tasks import TASKS, in_full
from attention_lab.transformer import Model, build

ROOT = Path(__file__).parents[2]
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
TASK = TASKS["translation"]


def options(**changes: Any) -> Train:
    values = {
        "epochs": 6, "max_steps": None, "tokens_per_batch": 120, "learning_rate": 1e-2, "warmup_steps": 5,
        "label_smoothing": 0.0, "word_dropout": 0.0, "checkpoint_steps": 4, "device": "cpu", "precision": "float32",
    }  # fmt: skip
    return load(ROOT / "params.yaml").train.model_copy(update=values | changes)


def copies(rows: int, seed: int) -> Examples:
    """Say the source again: learned in a few steps."""
    rng = np.random.default_rng(seed)
    texts = [np.concatenate([[2], rng.integers(5, 12, rng.integers(2, 5)), [3]]).astype(np.int32) for _ in range(rows)]
    return Examples(texts, texts, pad=0)


DATA = {"train": copies(90, 1), "valid": copies(20, 2)}


def fresh(**changes: Any) -> Model:
    torch.manual_seed(0)
    return build(config(vocabulary=12, width=24, **({"dropout": 0.1} | changes)))


def fit(tmp_path: Path, model: Any = None, log: Any = None, **changes: Any) -> tuple[Any, training.Result]:
    model = model or fresh()
    return model, training.train(model, TASK, DATA, options(**changes), seed=5, checkpoint=tmp_path, log=log)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    _, result = fit(tmp_path, epochs=12, log=lambda step, values: logged.append((step, values)))
    curve = result.valid_curve
    assert curve[-1]["valid_loss"] < 0.7 * curve[0]["valid_loss"]
    assert result.metrics["valid_loss"] == pytest.approx(min(p["valid_loss"] for p in curve), abs=1e-6)
    assert result.metrics["valid_loss"] < result.metrics["trivial_loss"]
    assert result.metrics["steps"] == curve[-1]["step"]
    assert result.metrics["parameters"] == weights(fresh()).numel()
    assert {"loss", "accuracy", "learning_rate", "tokens_per_second"} in [values.keys() for _, values in logged]
    assert json.dumps(result.metrics)


@pytest.mark.parametrize("slow", [True, False])
def test_a_precision_without_instructions_is_told(
    slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.device, "emulated", lambda *given: slow)
    asked = load(ROOT / "params.yaml")
    vocabulary.save(vocabulary.train(["a b"], asked.vocab.model_copy(update={"min_frequency": 1}), None), tmp_path)
    vocabulary.save_labels([], tmp_path)
    training.configure(asked, tmp_path)
    assert ("train.precision=bfloat16: this CPU has no instructions for it" in capsys.readouterr().err) is slow


def test_the_same_twice_and_another_for_another_seed(tmp_path: Path) -> None:
    first, _ = fit(tmp_path / "a", epochs=2)
    second, _ = fit(tmp_path / "b", epochs=2)
    assert torch.equal(weights(first), weights(second))
    third = fresh()
    training.train(third, TASK, DATA, options(epochs=2), seed=6, checkpoint=tmp_path / "c")
    assert not torch.equal(weights(first), weights(third))


class KilledError(Exception):
    pass


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=GPU)])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """(options, model, result) of a training that nothing has cut off."""
    changes = {"label_smoothing": 0.1, "accumulate": 2, "device": request.param}
    return changes, *fit(tmp_path_factory.mktemp("whole"), **changes)


@pytest.mark.parametrize("steps", [3, 7, 9, 14, 21])
def test_a_training_cut_off_after_any_step_ends_with_the_same_weights(
    steps: int, whole: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, model, expected = whole
    step = training._Run._step
    done = 0

    def dying(run: training._Run, group: list[list[int]]) -> None:
        nonlocal done
        if done == steps:
            raise KilledError
        done += 1
        step(run, group)

    monkeypatch.setattr(training._Run, "_step", dying)
    with pytest.raises(KilledError):
        fit(tmp_path, **changes)
    monkeypatch.setattr(training._Run, "_step", step)
    torch.manual_seed(999)  # a new process has another state
    resumed, result = fit(tmp_path, **changes)
    assert torch.equal(weights(model), weights(resumed))
    assert result.metrics == expected.metrics
    assert result.train_curve == expected.train_curve


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    model, result = fit(tmp_path, learning_rate=0.05, epochs=6, warmup_steps=1, schedule="constant")
    losses = [point["valid_loss"] for point in result.valid_curve]
    assert result.metrics["best_epoch"] == int(np.argmin(losses)) + 1
    again = training._Run(model, TASK, DATA, options(), 5, tmp_path / "x", None)
    assert again.validate()[0] == pytest.approx(min(losses), rel=1e-6)


def test_each_epoch_trains_on_its_own_examples(tmp_path: Path) -> None:
    class Drawn(Examples):
        def of_epoch(self, number: int) -> Examples:
            return copies(90, 10 + number)

    base = DATA["train"]
    data = {"train": Drawn(base.source, base.target, pad=0), "valid": DATA["valid"]}
    result = training.train(fresh(), TASK, data, options(), seed=5, checkpoint=tmp_path)
    assert result.metrics["tokens"] == sum(copies(90, 10 + epoch).lengths.sum() for epoch in range(6))


PATIENCE = {"epochs": 40, "patience": 2, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def ended_early(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """(folder, model, result) of a training that patience has ended."""
    folder = tmp_path_factory.mktemp("patience")
    return folder, *fit(folder, **PATIENCE)


def test_patience_ends_a_training_that_no_longer_gets_better(ended_early: tuple[Any, ...]) -> None:
    _, _, result = ended_early
    assert result.metrics["epochs"] < 40
    assert result.metrics["epochs"] == result.metrics["best_epoch"] + 2


def test_a_training_that_patience_has_ended_does_not_go_on(ended_early: tuple[Any, ...]) -> None:
    """… if its process died before the model was written."""
    folder, ended, first = ended_early
    again, second = fit(folder, **PATIENCE)
    assert second.metrics == first.metrics
    assert torch.equal(weights(again), weights(ended))


def test_the_last_steps_are_on_the_curve(tmp_path: Path) -> None:
    _, result = fit(tmp_path / "short", max_steps=7)
    (point,) = result.train_curve
    assert point["step"] == 7
    _, result = fit(tmp_path / "long", max_steps=25)
    assert [point["step"] for point in result.train_curve] == [10, 20, 25]


def test_an_epoch_that_is_chosen_for_its_accuracy_need_not_have_the_least_loss(tmp_path: Path) -> None:
    """It has learned if any epoch has a loss below the trivial one."""
    curve = [{"valid_loss": 1.0}, {"valid_loss": 3.0}]
    kept = training.Result({"valid_loss": 3.0, "trivial_loss": 2.0}, [], curve, {})
    for found, fails in ((kept, False), (training.replace(kept, valid_curve=curve[1:]), True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training._Run, "run", lambda _, found=found: found)
            if fails:
                with pytest.raises(InputError, match="no more than how often each value occurs"):
                    fit(tmp_path)
            else:
                assert fit(tmp_path)[1] is found


def _start(tmp_path: Path) -> tuple[Any, ...]:
    return fresh(dropout=0.0), TASK, DATA, options(), 5, tmp_path, None


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    """Gradients are per prediction of the whole group, however it is cut."""
    together = training._Run(*_start(tmp_path))
    together._step([list(range(12))])
    cut = training._Run(fresh(dropout=0.0), TASK, DATA, options(accumulate=3), 5, tmp_path, None)
    cut._step([list(range(2)), list(range(2, 9)), list(range(9, 12))])
    # Not the weights: where a gradient is 0 but for rounding, Adam makes a step of the rounding.
    assert together.state.window.tolist() == pytest.approx(cut.state.window.tolist(), rel=1e-5)
    assert together.validate() == pytest.approx(cut.validate(), rel=1e-5)
    assert together.validate()[0] != pytest.approx(training._Run(*_start(tmp_path)).validate()[0], rel=1e-3)


def test_what_the_task_decides_is_in_the_books_as_if_it_had_been_named() -> None:
    made = config(architecture="classifier", task="sentiment")
    nothing = {"model": {"layers": None, "heads": 4}, "train": {"word_dropout": None, "patience": None}, "seed": 1}
    named = {"model": {"layers": made.layers, "heads": 4}, "train": {"word_dropout": 0.05, "patience": None}, "seed": 1}
    assert in_full(nothing, made) == in_full(named, made) == named
    none_at_all = {"model": {"layers": 7}, "train": {"word_dropout": 0.0}}
    assert in_full(none_at_all, made) == none_at_all


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt"])
def test_the_learning_rate_warms_up_and_never_rises_again(schedule: str) -> None:
    plan = options(schedule=schedule, warmup_steps=10, learning_rate=0.01)
    rates = [training.rate(step, 100, plan) for step in range(1, 101)]
    assert rates[9] == pytest.approx(0.01)
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] == pytest.approx({"constant": 0.01, "linear": 0.0, "cosine": 0.0}.get(schedule, 0.01 * 0.1**0.5))


def test_a_warm_up_below_one_is_a_share_of_all_steps() -> None:
    for share, steps in ((0.25, 30), (0.1, 12), (1.0, 1), (0.0, 0)):
        of_all, counted = (options(warmup_steps=warmup, learning_rate=0.01) for warmup in (share, steps))
        assert [training.rate(step, 120, of_all) for step in range(1, 121)] == [
            training.rate(step, 120, counted) for step in range(1, 121)
        ]


def test_a_loss_that_is_not_finite_is_a_sentence(tmp_path: Path) -> None:
    model = fresh()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"no longer finite at step 1; lower train\.learning_rate"):
        fit(tmp_path, model=model)


def test_a_loss_that_is_not_finite_on_valid_rows_is_one_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no longer finite at step 1; lower train\.learning_rate"):
        fit(tmp_path, weight_decay=1e30, max_steps=1, warmup_steps=0, schedule="constant")


def test_a_model_that_learned_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learned no more than how often each value occurs"):
        fit(tmp_path, max_steps=1, learning_rate=1e-6)


@GPU
@pytest.mark.parametrize(("precision", "apart"), [("float32", 0.02), ("bfloat16", 0.1)])
def test_a_gpu_learns_what_a_cpu_learns(precision: str, apart: float, tmp_path: Path) -> None:
    (_, expected), (model, result) = (
        fit(tmp_path / device, fresh(dropout=0.0), device=device, precision=precision) for device in ("cpu", "cuda")
    )
    assert result.metrics["valid_loss"] == pytest.approx(expected.metrics["valid_loss"], rel=apart)
    assert next(model.parameters()).is_cuda


def test_a_device_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=r"PyTorch sees no cuda here; use train\.device=auto"):
        fit(tmp_path, device="cuda")


WORKER = """
import sys
sys.path[:0] = [f"tests/attention_lab/{name}" for name in ("transformer", "attention", "")]
from pathlib import Path
import torch
import test_training as t
from attention_lab import processes, training

model = t.fresh(dropout=0.0)
result = training.train(model, t.TASK, t.DATA, t.options(), seed=5, checkpoint=Path(sys.argv[1]) / "state")
if not processes.is_helper():
    torch.save((result.train_curve, result.metrics), Path(sys.argv[1]) / "result.pt")
"""


def test_two_processes_have_the_loss_of_one(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*command, str(script), str(tmp_path)], cwd=ROOT, env=environment, check=True, timeout=200)
    curve, metrics = torch.load(tmp_path / "result.pt")
    _, alone = fit(tmp_path / "alone", fresh(dropout=0.0))
    assert len(alone.train_curve) > 2
    for one, two in zip(alone.train_curve, curve, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
    assert alone.metrics["valid_loss"] == pytest.approx(metrics["valid_loss"], rel=1e-3)
    assert alone.metrics["tokens"] == metrics["tokens"]


def test_a_process_that_is_killed_leaves_a_state_that_can_be_read(tmp_path: Path) -> None:
    """SIGKILL at a moment of its own choosing: what is on disk is whole."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER.replace("t.options()", "t.options(checkpoint_steps=1, epochs=300)"), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    state = tmp_path / "state" / "process-0.pt"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.load(state, weights_only=True)["progress"]["step"] >= 1
