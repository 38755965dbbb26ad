"""The multi-head layer: project, attend, project back (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from attention_lab.attention.catalogue import Mechanism, build
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Cache, Call, Place, Sizes, Where, here

PATHS = {
    "explicit": "the weights are computed one by one, then the sum over values",
    "fused": "one PyTorch kernel computes scores, softmax and sum; the weights are never in memory",
    "blocked": "a window in blocks of queries with the keys in their reach; time and memory grow with L·window",
    "linear": "the sum over keys is made once and shared by all queries; time grows with L",
    "chunked": "pairs within chunks, a state between them; time grows with L",
    "recurrent": "one step from a state of constant size",
    "kernel": "a formula of its own, computed in one way",
}


class MultiHeadAttention(nn.Module):
    """H heads, each attending in its own projection of width D = W / H.

    Args:
        width: W, the width of inputs and output.
        heads: H.
        mechanism: how the weights are computed.
        place: the layer's role. In `decoder_self` it is causal; in `cross` it reads a memory.
        dropout: share of the weights that are set to 0 in training; a kernel computes none, so there it does nothing.
        rotary: rotate queries and keys of self-attention by their position, unless the mechanism has its own position.
        same: use which words are the same, if the call says so; see `biases.SameWord`.
        length: the longest sequence; it matters only for mechanisms whose parameters or formula depend on it.

    Raises:
        InputError: the mechanism is not valid in that place, or its options do not fit the sizes.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mechanism: Mechanism,
        place: Place,
        *,
        dropout: float = 0.0,
        rotary: bool = False,
        same: bool = False,
        length: int = 512,
    ) -> None:
        super().__init__()
        self.place = place
        sizes = Sizes(heads=heads, head=width // heads, width=width, length=length, place=place)
        self.heads, self.core = build(mechanism, sizes, dropout=dropout, rotary=rotary, same=same)
        self.output: nn.Module = nn.Linear(width, width) if self.heads.projects else nn.Identity()
        if isinstance(self.output, nn.Linear):
            nn.init.xavier_uniform_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        same: Tensor | None = None,
        cache: Cache | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from inputs (B, Lq, W) to memory (B, Lk, W), or to the inputs themselves.

        Args:
            mask: (B, Lk), False for padding; with a cache, it covers all keys so far.
            same: (B, Lq, Lk), see `contract.Where`.
            cache: what earlier steps kept; the inputs are then the positions that follow.

        Returns:
            The output (B, Lq, W) and, if requested, the weights (B, H, Lq, Lk), or None if the mechanism has none. They
            are the weights actually used: requesting them takes the explicit path.
        """
        call, value = self.call(inputs, memory, mask, cache, same)
        mixed, used = self.core(call, value, weights=weights)
        mixed = self.core.operation.output(mixed, call)
        return self.output(mixed.transpose(1, 2).flatten(2)), used

    def explain(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        same: Tensor | None = None,
        cache: Cache | None = None,
        weights: bool = False,
    ) -> str:
        """Say which path `forward` takes with these arguments, and what it does; the cache is left as it is."""
        if cache is not None:
            cache = cache.copy()
        call, _ = self.call(inputs, memory, mask, cache, same)
        path = "explicit" if weights and isinstance(self.core, Composition) else self.core.path(call)
        return f"{path}: {PATHS[path]}"

    def call(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        same: Tensor | None = None,
    ) -> tuple[Call, Tensor]:
        """Project the inputs, and extend the cache: return what the mechanism is given, and values (B, H, Lk, D)."""
        start = 0 if cache is None else cache.length
        queries = here(inputs.shape[1], inputs.device, start)
        position = self.core.position
        query = self.heads.queries(inputs, position, queries)
        if cache is not None and cache.fixed and cache.kept:
            kept = cache.kept
        else:
            attended = inputs if memory is None else memory
            new = here(attended.shape[1], inputs.device, start if memory is None else 0)
            kept = self.heads.remember(attended, position, new)
            if cache is not None and (cache.fixed or not self.core.recurrent):
                most = None if cache.fixed else self.core.reach
                kept = {name: cache.extend(name, tensor, most=most) for name, tensor in kept.items()}
        key, value = self.heads.recall(kept)
        last = start + inputs.shape[1] if memory is None else key.shape[-2]
        alike = memory is None and key.shape[-2] == inputs.shape[1]
        keys = queries if alike else here(key.shape[-2], inputs.device, last - key.shape[-2])
        if mask is not None:
            mask = mask[:, -key.shape[-2] :]
        if cache is not None:
            cache.length = start + inputs.shape[1]
        where = Where(queries, keys, causal=self.place == "decoder_self", exists=mask, same=same)
        return Call(inputs, query, key, where, cache), value
