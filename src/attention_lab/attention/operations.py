"""Operations: what some mechanisms do to the scores or weights of all heads together, or to what comes out."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from attention_lab.attention.contract import Call, Sizes


class Operation(nn.Module):
    """None: scores, weights and output stay as they are.

    `between` says whether scores or weights are touched, so that they have to be computed one by one.
    `maps` says how many maps of scores a head has; the weights of a head are what `weights` makes of them.
    """

    between = False
    maps = 1

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    def scores(self, scores: Tensor, call: Call) -> Tensor:
        """Scores (B, H·maps, Lq, Lk) before they are normalised."""
        return scores

    def weights(self, weights: Tensor, call: Call) -> Tensor:
        """Weights (B, H·maps, Lq, Lk) → (B, H, Lq, Lk), before dropout."""
        return weights

    def output(self, mixed: Tensor, call: Call) -> Tensor:
        """Mixed values (B, H, Lq, D), before heads are projected back."""
        return mixed


OPERATIONS: dict[str, Callable[..., Operation]] = {"none": Operation}
