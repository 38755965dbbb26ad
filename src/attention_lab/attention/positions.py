"""Positions: how attention learns about order. Positions are absolute and count from 0.

`sinusoidal` is added to embeddings. A `Position` belongs to a mechanism: it rotates queries and keys before they are
compared (and before keys are cached), or adds a bias to the scores (`biases.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Call, Sizes


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Sines at even and cosines at odd indices (Vaswani et al. 2017, arXiv 1706.03762, section 3.5).

    positions (L,) → (L, width), float32; wavelengths from 2π to 10000·2π. No parameters, no maximum length.
    """
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10000.0) / width))
    angles = positions.unsqueeze(-1).float() * rates
    table = torch.zeros(len(positions), width, device=positions.device)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : width // 2]
    return table


class Position(nn.Module):
    """No position: the mechanism does not know about order.

    needs_scores: whether `bias` reads the scores, so that they must be computed explicitly.
    whole: whether `bias` needs the whole sequence, so that it cannot be computed block by block.
    """

    needs_scores = False
    whole = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    def turn(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Encode positions (P, L) in queries or keys (B, H, L, D); the shape stays the same."""
        return vectors

    def bias(self, call: Call, scores: Tensor) -> Tensor | None:
        """The bias to add to the scores, broadcasts to (B, H, Lq, Lk); None: no bias."""
        return None


class Rotary(Position):
    """Rotate feature pairs by an angle proportional to the position (Su et al. 2021, arXiv 2104.09864, equation 34).

    The dot product of a rotated query and key depends on position only through their distance, and nothing is learned:
    the first choice for self-attention. Features i and i + D/2 are a pair; if D is odd, the last stays as it is.

    Args:
        base: wavelengths go from 2π to base·2π.
        interleaved: features 2i and 2i + 1 are a pair, as in the paper and in GPT-J.
    """

    def __init__(self, sizes: Sizes, *, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__(sizes)
        self.base = base
        self.interleaved = interleaved

    def turn(self, vectors: Tensor, positions: Tensor) -> Tensor:
        half = vectors.shape[-1] // 2
        rates = torch.exp(torch.arange(half, device=vectors.device) * (-math.log(self.base) / max(1, half)))
        angles = positions[:, None, :, None].float() * rates
        cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
        pairs, rest = vectors[..., : 2 * half], vectors[..., 2 * half :]
        if self.interleaved:
            first, second = pairs[..., 0::2], pairs[..., 1::2]
            turned = torch.stack((first * cos - second * sin, second * cos + first * sin), -1).flatten(-2)
            return torch.cat((turned, rest), -1)
        first, second = pairs[..., :half], pairs[..., half:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), -1)


POSITIONS: dict[str, Callable[..., Position]] = {"none": Position, "rotary": Rotary}
