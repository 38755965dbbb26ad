"""What training minimises, and techniques that help a model generalise to unseen texts. Each technique is controlled by
one value in the section train of params.yaml, and off at 0."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from attention_lab.batching import Batch
from attention_lab.params import Train
from attention_lab.pretraining import MaskedReader, guessing
from attention_lab.tasks import Loss, Trainable
from attention_lab.transformer import Model
from attention_lab.transformer.pointer import States
from attention_lab.vocabulary import SPECIALS, UNK_ID

CHUNK = 2_000_000  # logits per pass at a time


class Objective(nn.Module):
    """Model and loss as one module, so that every use of a weight is in the forward pass that DDP wraps."""

    def __init__(self, model: nn.Module, task: Trainable, options: Train) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.options = options
        self.reader = MaskedReader(cast(Model, model), "train.multi_task") if options.multi_task else None

    def forward(self, batch: Batch, predictions: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """The objective, −log p of the truth in nats, and the number of correct predictions; all summed over the
        predictions of a batch.

        Args:
            predictions: their number. The loss of the second task is a mean and is multiplied by it, so that its weight
                is `multi_task` once the sum is divided by the number of predictions.
        """
        whole = batch
        share = self.task.word_dropout if self.options.word_dropout is None else self.options.word_dropout
        if self.training and share:
            batch = without_words(batch, share)
        loss: Loss = self.task.loss(self.model, batch, self.options.label_smoothing)
        wanted = loss.smoothed
        if self.training and self.options.r_drop:
            again = self.task.loss(self.model, batch, self.options.label_smoothing)
            wanted = r_drop(loss, again, self.options.r_drop)
        if self.training and self.reader is not None:
            wanted = wanted + self.options.multi_task * predictions * guessing(self.reader, whole)
        return wanted, loss.nll, loss.correct


def without_words(batch: Batch, share: float) -> Batch:
    """The batch with each source token, except special tokens, replaced by <unk> with the probability `share`.

    The model cannot rely on a single word (Iyyer et al. 2015, Deep unordered composition rivals syntactic methods for
    text classification, section 3.1), and meets <unk> in training. The paper drops a word's vector; <unk> still shows
    that there is a word, and keeps positions. A batch without a target gets the original source as one: a language
    model reads <unk> but predicts the original words (Bowman et al. 2016, arXiv 1511.06349).
    """
    dropped = torch.rand(batch.source.shape, device=batch.source.device) < share
    source = batch.source.masked_fill(dropped & (batch.source >= len(SPECIALS)), UNK_ID)
    return replace(batch, source=source, target=batch.source if batch.target is None else batch.target)


def r_drop(first: Loss, second: Loss, weight: float) -> Tensor:
    """Half of −log P₁ − log P₂ + `weight` · ½ (KL(P₁‖P₂) + KL(P₂‖P₁)), summed over the predictions of a batch: two
    passes with different dropout must both be right, and must agree (Liang et al. 2021, R-Drop, arXiv 2106.14448,
    equation 4). The half makes it equal to the loss of one pass if there is no dropout.
    """
    return 0.5 * (first.smoothed + second.smoothed + weight * divergence(first, second))


def divergence(first: Loss, second: Loss) -> Tensor:
    """½ (KL(P₁‖P₂) + KL(P₂‖P₁)), summed over the predictions, in nats (the R-Drop paper's L_KL).

    The logits of a chunk are recomputed for its gradient, so only those of one chunk are ever in memory.
    """

    def of_chunk(states: States, others: States) -> Tensor:
        logs, other_logs = (each.float().log_softmax(-1) for each in (first.project(states), second.project(others)))
        return 0.5 * ((logs.exp() - other_logs.exp()) * (logs - other_logs)).sum()

    step = max(1, CHUNK // first.project(first.states[:0]).shape[-1])
    chunks = zip(first.states.split(step), second.states.split(step), strict=True)
    found = [checkpoint(of_chunk, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    return torch.stack(found).sum()


def averaged(model: nn.Module, steps: float) -> AveragedModel:
    """A copy of the model that holds an exponential moving average of its weights over about the last `steps` optimizer
    steps.

    It replaces an average of the last checkpoints (Vaswani et al. 2017, arXiv 1706.03762, section 6.1), with only one
    copy of the weights in memory. The newest weights count 1/steps, and earlier ones decay by a factor of 1 - 1/steps
    per step (Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1). It starts as the weights after the first step, so
    it becomes useful only after several times `steps` steps.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(max(0.0, 1.0 - 1.0 / steps)))
