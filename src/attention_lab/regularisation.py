"""What helps a model do well on texts it has not seen; each is one value of params.yaml, section train."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from attention_lab.batching import Batch
from attention_lab.vocabulary import SPECIALS, UNK_ID


def without_words(batch: Batch, share: float) -> Batch:
    """The batch with each token of its source replaced by <unk> with the probability `share`, special tokens excepted.

    No word can be relied on alone (Iyyer et al. 2015, Deep unordered composition rivals syntactic methods for text
    classification, section 3.2), and <unk> is seen in training. They drop a word's vector; with <unk> there is still a
    word to be seen, and positions stay. A text without a target is its own, as it was: a language model reads <unk>
    and has to say the word that follows (Bowman et al. 2016, arXiv 1511.06349).
    """
    dropped = torch.rand(batch.source.shape, device=batch.source.device) < share
    source = batch.source.masked_fill(dropped & (batch.source >= len(SPECIALS)), UNK_ID)
    return replace(batch, source=source, target=batch.source if batch.target is None else batch.target)


def averaged(model: nn.Module, steps: float) -> AveragedModel:
    """A copy of the model that holds a running mean of its weights over about the last `steps` optimizer steps.

    It takes the place of a mean of the last checkpoints (Vaswani et al. 2017, arXiv 1706.03762, section 6.1), with one
    copy of the weights in memory for any number of them. The newest weights count 1/steps, and those before them less
    and less, by the factor 1 - 1/steps a step (Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1). The mean starts
    as the weights after the first step, so it is of use after some times as many steps.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(max(0.0, 1.0 - 1.0 / steps)))
