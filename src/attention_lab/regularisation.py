"""What training minimises, and what helps a model do well on texts it has not seen: each is one value of params.yaml,
section train, and off at 0."""

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

CHUNK = 2_000_000  # logits of one pass at a time


class Objective(nn.Module):
    """Model and loss as one module, so that distributed training sees every use of every weight in its forward."""

    def __init__(self, model: nn.Module, task: Trainable, options: Train) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.options = options
        self.reader = MaskedReader(cast(Model, model), "train.multi_task") if options.multi_task else None

    def forward(self, batch: Batch, predictions: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """What is minimised, −log p of the truth in nats, and correct predictions; all summed over the predictions of a
        batch.

        Args:
            predictions: how many there are; a second task, whose loss is a mean, counts as much in the mean over them.
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
    """The batch with each token of its source replaced by <unk> with the probability `share`, special tokens excepted.

    No word can be relied on alone (Iyyer et al. 2015, Deep unordered composition rivals syntactic methods for text
    classification, section 3.1), and <unk> is seen in training. They drop a word's vector; with <unk> there is still a
    word to be seen, and positions stay. A text without a target is its own, as it was: a language model reads <unk>
    and has to say the word that follows (Bowman et al. 2016, arXiv 1511.06349).
    """
    dropped = torch.rand(batch.source.shape, device=batch.source.device) < share
    source = batch.source.masked_fill(dropped & (batch.source >= len(SPECIALS)), UNK_ID)
    return replace(batch, source=source, target=batch.source if batch.target is None else batch.target)


def r_drop(first: Loss, second: Loss, weight: float) -> Tensor:
    """Half of −log P₁ − log P₂ + `weight` · ½ (KL(P₁‖P₂) + KL(P₂‖P₁)), summed over the predictions of a batch: of two
    passes, which differ by their dropout, both have to be right and they have to agree (Liang et al. 2021, R-Drop,
    arXiv 2106.14448, equation 4). Half, so that without dropout it is the loss of one pass.
    """
    return 0.5 * (first.smoothed + second.smoothed + weight * divergence(first, second))


def divergence(first: Loss, second: Loss) -> Tensor:
    """½ (KL(P₁‖P₂) + KL(P₂‖P₁)), summed over the predictions, in nats (equation 2 there).

    The logits of a chunk are made again for its gradient, so that never more than those of one are in memory.
    """

    def of_chunk(states: States, others: States) -> Tensor:
        logs, other_logs = (each.float().log_softmax(-1) for each in (first.project(states), second.project(others)))
        return 0.5 * ((logs.exp() - other_logs.exp()) * (logs - other_logs)).sum()

    step = max(1, CHUNK // first.project(first.states[:0]).shape[-1])
    chunks = zip(first.states.split(step), second.states.split(step), strict=True)
    found = [checkpoint(of_chunk, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    return torch.stack(found).sum()


def averaged(model: nn.Module, steps: float) -> AveragedModel:
    """A copy of the model that holds a running mean of its weights over about the last `steps` optimizer steps.

    It takes the place of a mean of the last checkpoints (Vaswani et al. 2017, arXiv 1706.03762, section 6.1), with one
    copy of the weights in memory for any number of them. The newest weights count 1/steps, and those before them less
    and less, by the factor 1 - 1/steps a step (Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1). The mean starts
    as the weights after the first step, so it is of use after some times as many steps.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(max(0.0, 1.0 - 1.0 / steps)))
