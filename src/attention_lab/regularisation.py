"""What helps a model do well on texts it has not seen; each is one value of params.yaml, section train."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(model: nn.Module, steps: float) -> AveragedModel:
    """A copy of the model that holds a running mean of its weights over about the last `steps` optimizer steps.

    It takes the place of a mean of the last checkpoints (Vaswani et al. 2017, arXiv 1706.03762, section 6.1), with one
    copy of the weights in memory for any number of them. The newest weights count 1/steps, and those before them less
    and less, by the factor 1 - 1/steps a step (Tarvainen & Valpola 2017, arXiv 1703.01780, equation 1). The mean starts
    as the weights after the first step, so it is of use after some times as many steps.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(max(0.0, 1.0 - 1.0 / steps)))
