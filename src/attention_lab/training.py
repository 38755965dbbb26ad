"""The training loop, built on accelerate, which handles devices, mixed precision and several processes.

Added here: batches by tokens, a loss per prediction however predictions are spread over batches and processes, the best
checkpoint, and a state on disk from which a killed training resumes bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from pydantic import BaseModel
from torch import Tensor, nn
from tqdm import tqdm

from attention_lab import device, encoding, vocabulary
from attention_lab.batching import Examples, TokenBuckets, examples
from attention_lab.errors import InputError
from attention_lab.metrics import rounded
from attention_lab.params import Params, Train
from attention_lab.pretraining import prepared
from attention_lab.processes import is_helper
from attention_lab.records import SHAPES, digest, replaced
from attention_lab.regularisation import Objective, averaged
from attention_lab.segmentation import Resegmented
from attention_lab.tasks import TASKS, Task, Trainable
from attention_lab.transformer import Config, Model, build, save
from attention_lab.transformer.config import stand_ins

Log = Callable[[int, dict[str, float]], None]
WINDOW = 10  # optimizer steps per point of the training curve


def _sums() -> Tensor:
    return torch.zeros(3, dtype=torch.float64)  # nats, correct predictions, predictions


@dataclass
class Progress:
    """The progress of a training; `best` holds the weights to keep."""

    epoch: int = 0
    group: int = 0  # optimizer steps done in this epoch
    step: int = 0
    tokens: int = 0
    window: Tensor = field(default_factory=_sums)  # since the last point of the curve
    epoch_sum: Tensor = field(default_factory=_sums)
    train_curve: list[dict[str, float]] = field(default_factory=list)
    valid_curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_value: float = -math.inf
    best_epoch: int = 0
    best_point: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """metrics: for metrics/train.json, the same in every run; train_curve: means over windows of steps; valid_curve:
    values of each epoch (pretrain_curve: of each epoch of pre-training, whose loss is of another task); speed: what
    differs from run to run (seconds, tokens per second, peak memory)."""

    metrics: dict[str, Any]
    train_curve: list[dict[str, float]]
    valid_curve: list[dict[str, float]]
    speed: dict[str, float]
    pretrain_curve: list[dict[str, float]] = field(default_factory=list)


def rate(step: int, total: int, options: Train) -> float:
    """The learning rate of optimizer step 1 … total: linear warm-up to the peak, then the schedule."""
    peak, warmup = options.learning_rate, options.warmup_steps
    warmup = min(warmup, total) if warmup >= 1.0 else math.ceil(warmup * total)
    if step <= warmup:
        return peak * step / warmup
    share = (step - warmup) / max(1, total - warmup)
    match options.schedule:
        case "constant":
            return peak
        case "linear":
            return peak * (1.0 - share)
        case "cosine":
            return peak * 0.5 * (1.0 + math.cos(math.pi * share))
        case "inverse_sqrt":
            return peak * math.sqrt(max(1, warmup) / step)


def configure(options: Params, vocab: Path) -> Config:
    """The configuration of the model described by `options` (sections task, encode, attention, model and train) and the
    vocabulary.

    Raises:
        InputError: the attention is not valid (see `Config.of`), the device is not available, or the vocabulary is
            missing.
    """
    where = device.choose(options.train.device)
    of_target = vocabulary.load_target(vocab)
    task = TASKS[options.task]
    config = Config.of(
        options,
        architecture=task.architecture,
        layers=task.layers,
        width=task.width,
        position=task.position,
        vocabulary=len(vocabulary.load(vocab)),
        target_vocabulary=None if of_target is None else len(of_target),
        labels=vocabulary.load_labels(vocab),
        pad=vocabulary.PAD_ID,
        start=vocabulary.BOS_ID,
        end=vocabulary.EOS_ID,
    )
    if not is_helper():
        for sentence in stand_ins(options, config):
            tqdm.write(sentence, file=sys.stderr)
        if device.emulated(options.train.precision, where):
            tqdm.write(
                "train.precision=bfloat16: this CPU has no instructions for it, so training takes many times as long; "
                "float32 is faster here",
                file=sys.stderr,
            )
    return config


def fit(
    config: Config,
    options: Params,
    encoded: Path,
    vocab: Path,
    output: Path,
    unfinished: Path,
    log: Log | None = None,
) -> Result:
    """Run the train stage: build the model, train it on the encoded rows, and write it with its tokenizers.

    Args:
        unfinished: folder for the state of a training until it is done; see `key`.
    """
    tokenizer, of_target = vocabulary.load(vocab), vocabulary.load_target(vocab)
    shape = SHAPES[options.task]
    tables = {name: encoding.read(encoded / f"{name}.arrow", shape) for name in ("train", "valid")}
    data = {name: examples(table, config.pad, len(config.labels)) for name, table in tables.items()}
    if config.architecture == "spans":
        config = config.model_copy(update={"no_answer": encoding.some_have_no_answer(tables["train"])})
    if share := options.train.subword_dropout:
        data["train"] = Resegmented(data["train"], tokenizer, share, options.encode, options.seed, of_target)
    torch.manual_seed(options.seed)
    model = build(config, gradient_checkpointing=options.train.gradient_checkpointing)
    task = TASKS[options.task]
    result = train(model, task, data, options.train, seed=options.seed, checkpoint=unfinished, log=log)
    if not is_helper():
        save(model, output)
        goes_on = config.architecture == "decoder"
        vocabulary.save(vocabulary.for_prompts(tokenizer) if goes_on else tokenizer, output, of_target)
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def key(options: Params, encoded: Path, vocab: Path) -> str:
    """A hash of everything that determines a training: parameters, data and code. An unfinished training resumes only
    under the same key."""
    sections = {name: getattr(options, name) for name in sorted(options.model_fields_set)}
    values = {n: v.model_dump() if isinstance(v, BaseModel) else v for n, v in sections.items()}
    total = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in (encoded, vocab, *sorted(Path(__file__).parent.rglob("*.py"))):
        total.update(digest(path).encode())
    return total.hexdigest()[:32]


def train(
    model: Model,
    task: Task,
    data: dict[str, Examples],
    options: Train,
    *,
    seed: int,
    checkpoint: Path,
    log: Log | None = None,
) -> Result:
    """Train the model in place; at the end it holds the weights of its best epoch.

    Args:
        data: examples under "train" and "valid".
        checkpoint: folder for the state of an unfinished training, named after `key`. If it holds a state, the training
            resumes from that; the caller removes the folder at the end.
        log: called with a step and its metrics, in the main process.

    Raises:
        InputError: the loss is no longer finite, the valid rows leave nothing to learn, or the model learned no more
            than the trivial baseline.
    """
    earlier: Result | None = None
    if options.pretrain:
        kept = checkpoint / "pretraining"  # kept to the end: a resumed training reads the result of this phase there
        own = log and (lambda step, values: log(step, {f"pretrain_{name}": value for name, value in values.items()}))
        earlier = _Run(*prepared(model, data, options, seed), seed, kept, own).run()
    result = _Run(model, task, data, options, seed, checkpoint, log).run()
    # An epoch chosen for its accuracy may have a high loss from overconfident errors, so take the lowest of all epochs.
    least = min(point["valid_loss"] for point in result.valid_curve)
    if result.metrics["trivial_loss"] < 1e-6:
        raise InputError(
            "training: the validation rows all have the same target or label, so there is nothing to learn; give rows "
            "with different ones"
        )
    if least >= result.metrics["trivial_loss"]:
        raise InputError(
            f"training: the model has learned no more than how often each value occurs (valid loss "
            f"{least:.3f} nats, trivial {result.metrics['trivial_loss']:.3f}); train longer "
            f"(train.epochs, now {options.epochs}) or change train.learning_rate (now {options.learning_rate})"
        )
    if earlier is None:
        return result
    return replace(
        result,
        metrics=result.metrics | {"pretrain_loss": earlier.metrics["valid_loss"]},
        speed=result.speed | {"pretrain_seconds": earlier.speed["seconds"]},
        pretrain_curve=earlier.valid_curve,
    )


class _Run:
    """The state and the steps of one training."""

    def __init__(
        self,
        model: nn.Module,
        task: Trainable,
        data: dict[str, Examples],
        options: Train,
        seed: int,
        checkpoint: Path,
        log: Log | None,
    ) -> None:
        where = device.choose(options.device)
        device.prepare(where, options.threads)
        # A second training in the same process may use another device.
        before = PartialState._shared_state.get("device", where)
        AcceleratorState._reset_state(reset_partial_state=before.type != where.type)
        self.accelerator = Accelerator(
            cpu=where.type == "cpu", mixed_precision=device.precision(options.precision, where)
        )
        self.model = model
        self.task = task
        self.data = data
        self.examples = data["train"]  # as drawn for the current epoch
        self.options = options
        self.checkpoint = checkpoint / f"process-{self.accelerator.process_index}.pt"
        self.log = log if self.accelerator.is_main_process else None
        self.buckets = TokenBuckets(data["train"].lengths, options.tokens_per_batch, seed=seed)
        groups = math.ceil(len(self.buckets) / options.accumulate)
        self.total = min(options.epochs * groups, options.max_steps or sys.maxsize)
        # Every process needs its own dropout masks; weights are already drawn, and the first process's are used anyway.
        torch.manual_seed(seed + self.accelerator.process_index)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9, weight_decay=options.weight_decay, fused=True
        )
        self.objective, self.optimizer = self.accelerator.prepare(Objective(model, task, options), optimizer)
        self.average = averaged(model, options.average * groups) if options.average else None
        self.kept = self.average.module if self.average else model  # the weights that are validated and kept
        self.state = Progress()

    def run(self) -> Result:
        self._resume()
        options, state = self.options, self.state
        started, tokens_before = time.perf_counter(), state.tokens

        def tokens_per_second() -> float:
            return (state.tokens - tokens_before) / (time.perf_counter() - started)

        bar = tqdm(
            total=self.total,
            initial=state.step,
            unit="step",
            desc="train",
            disable=not self.accelerator.is_main_process,
            mininterval=1.0,
        )
        with bar:
            while not self._done():
                self.examples = self.data["train"].of_epoch(state.epoch)
                batches = self.buckets.epoch(state.epoch)
                groups = [batches[i : i + options.accumulate] for i in range(0, len(batches), options.accumulate)]
                for group in groups[state.group :]:
                    self._step(group)
                    bar.update()
                    if state.step % WINDOW == 0:
                        self._point(bar, tokens_per_second())
                    if state.step == self.total:
                        break
                    if state.step % options.checkpoint_steps == 0:
                        self._save()
                self._finish_epoch()
                if self._done() and state.window[2]:  # steps since the last point remain
                    self._point(bar, tokens_per_second())
                self._save()
        self.model.load_state_dict(state.best)
        return self._result(time.perf_counter() - started, tokens_per_second())

    def _done(self) -> bool:
        """Whether training ends here. Patience counts between epochs only, not within one that was interrupted."""
        state, options = self.state, self.options
        patient = options.patience is None or state.group > 0 or state.epoch - state.best_epoch < options.patience
        return state.epoch >= options.epochs or state.step >= self.total or not patient

    def _step(self, group: list[list[int]]) -> None:
        """Take one optimizer step over a group of batches.

        The loss is divided by the number of predictions of the whole group in all processes. Since DDP averages
        gradients over the processes, it is multiplied by their number. So the result does not depend on how rows are
        divided into batches and processes.
        """
        state, accelerator, data = self.state, self.accelerator, self.examples
        processes, process = accelerator.num_processes, accelerator.process_index
        count = sum(data.predictions(rows) for rows in group)
        sums = torch.zeros(2, dtype=torch.float64)
        self.objective.train()
        for index, rows in enumerate(group):
            mine = rows[process::processes]
            batch = data[mine or rows[:1]].to(accelerator.device)  # a process without rows takes one with weight 0
            with nullcontext() if index == len(group) - 1 else accelerator.no_sync(self.objective):
                smoothed, nll, correct = self.objective(batch, data.predictions(mine))
                accelerator.backward(smoothed * (processes / count if mine else 0.0))
            if mine:
                sums += torch.stack((nll.double(), correct.double())).cpu()
            state.tokens += int(data.lengths[rows].sum())
        nll_sum, correct_sum = accelerator.reduce(sums.to(accelerator.device), "sum").tolist()
        self._check(nll_sum, state.step + 1)
        if self.options.clip_norm is not None:
            accelerator.clip_grad_norm_(self.objective.parameters(), self.options.clip_norm)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate(state.step + 1, self.total, self.options)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        state.step += 1
        state.group += 1
        state.window += torch.tensor([nll_sum, correct_sum, count])
        state.epoch_sum += torch.tensor([nll_sum, correct_sum, count])

    def _check(self, loss: float, step: int) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"training: the loss is no longer finite at step {step}; lower train.learning_rate "
                f"(now {self.options.learning_rate}) or lengthen train.warmup_steps (now {self.options.warmup_steps})"
            )

    def _point(self, bar: tqdm[Any], tokens_per_second: float) -> None:
        """Add a point to the training curve: means over the steps since the last one."""
        nll, correct, count = self.state.window.tolist()
        self.state.window.zero_()
        point = {
            "loss": nll / count,
            "accuracy": correct / count,
            "learning_rate": rate(self.state.step, self.total, self.options),
        }
        self.state.train_curve.append({"step": self.state.step, **point})
        bar.set_postfix(loss=f"{point['loss']:.3f}", tokens=f"{tokens_per_second:.0f}/s", refresh=False)
        if self.log is not None:
            self.log(self.state.step, {**point, "tokens_per_second": tokens_per_second})

    def _finish_epoch(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        state = self.state
        nll, correct, count = state.epoch_sum.tolist()
        valid_loss, valid_accuracy = self.validate()
        self._check(valid_loss, state.step)
        state.epoch, state.group = state.epoch + 1, 0
        state.epoch_sum.zero_()
        point = {
            "train_loss": nll / count,
            "train_accuracy": correct / count,
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
        }
        state.valid_curve.append({"step": state.step, "epoch": state.epoch, **point})
        value = -valid_loss if self.options.metric == "loss" else valid_accuracy
        if value > state.best_value:
            state.best_value, state.best_epoch, state.best_point = value, state.epoch, point
            state.best = {name: tensor.detach().cpu().clone() for name, tensor in self.kept.state_dict().items()}
        if self.log is not None:
            self.log(state.step, point)
        if self.accelerator.is_main_process:
            shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in point.items())
            tqdm.write(f"epoch {state.epoch}: {shown}", file=sys.stderr)

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Mean nats per prediction and accuracy on the valid split. Every process computes all of it."""
        objective = Objective(self.kept, self.task, self.options).eval()
        data = self.data["valid"]
        sums = torch.zeros(2, dtype=torch.float64)
        batches = TokenBuckets(data.lengths, self.options.tokens_per_batch).epoch(0)
        for rows in batches:
            batch = data[rows].to(self.accelerator.device)
            with self.accelerator.autocast():
                _, nll, correct = objective(batch)
            sums += torch.stack((nll.double(), correct.double())).cpu()
        count = sum(data.predictions(rows) for rows in batches)
        return float(sums[0] / count), float(sums[1] / count)

    def _save(self) -> None:
        """Write everything that the next step depends on, atomically."""
        state = {
            "progress": vars(self.state),
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }
        with replaced(self.checkpoint) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        """Resume from the saved state, if every process has one and all are of the same step."""
        saved = torch.load(self.checkpoint, weights_only=True) if self.checkpoint.exists() else None
        step = torch.tensor([saved["progress"]["step"] if saved else 0], device=self.accelerator.device)
        if saved is None or len(set(self.accelerator.gather(step).tolist())) > 1 or not step:
            return
        self.state = Progress(**saved["progress"])
        self.model.load_state_dict(saved["model"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        if saved["random_cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(saved["random_cuda"])
        if self.accelerator.is_main_process:
            tqdm.write(f"continuing an interrupted training after step {self.state.step}", file=sys.stderr)

    def _result(self, seconds: float, tokens_per_second: float) -> Result:
        state, options, data = self.state, self.options, self.data
        batches = [TokenBuckets(data[s].lengths, options.tokens_per_batch).epoch(0) for s in ("train", "valid")]
        trivial = self.task.trivial_nll(
            (data["train"][rows] for rows in batches[0]), (data["valid"][rows] for rows in batches[1])
        )
        metrics = {
            **{name: rounded(value) for name, value in state.best_point.items()},
            "trivial_loss": rounded(trivial),
            "steps": state.step,
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "tokens": state.tokens,
            "parameters": sum(p.numel() for p in self.model.parameters()),
        }
        speed = {"seconds": seconds, "tokens_per_second": tokens_per_second}
        speed["peak_memory_mb"] = device.peak_memory(self.accelerator.device) / 1e6
        return Result(metrics, state.train_curve, state.valid_curve, speed)
