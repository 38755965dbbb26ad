"""Operations against implementations that are not ours, or plain loops where there are none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attention_lab.attention import Cache, MultiHeadAttention, Place, mechanism
from attention_lab.attention.composition import Composition
from attention_lab.errors import InputError

BATCH, HEADS, QUERIES, KEYS, WIDTH, HEAD = 2, 4, 5, 7, 48, 12
PADDED = torch.tensor([[True] * KEYS, [True] * 4 + [False] * 3])


def layer(
    name: str, options: dict | None = None, place: Place = "cross", *, rotary: bool = False, started: bool = True
) -> MultiHeadAttention:
    """In float64; with parameters away from where they start, unless `started` is False."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(WIDTH, HEADS, mechanism(name, options), place, rotary=rotary).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) * started)
    return attention.double()


def inputs(length: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, length, WIDTH, dtype=torch.float64, generator=generator)


def like(other: MultiHeadAttention, name: str, **options: object) -> MultiHeadAttention:
    """A layer with the same projections."""
    attention = layer(name, options, other.place)
    attention.load_state_dict(other.state_dict(), strict=False)
    return attention


def scores_of(attention: MultiHeadAttention, query: Tensor, memory: Tensor, maps: int = 1) -> Tensor:
    """q·k/√E by hand: (B, H·maps, Lq, Lk)."""
    wide = HEAD // maps
    q = attention.heads.query(query).view(BATCH, -1, HEADS * maps, wide)
    k = attention.heads.key(memory).view(BATCH, -1, HEADS * maps, wide)
    return torch.einsum("bqhd,bkhd->bhqk", q, k).detach() / math.sqrt(wide)


def softmax(scores: list[float]) -> list[float]:
    raw = [math.exp(score) for score in scores]
    return [r / sum(raw) for r in raw]


def mixed_by(attention: MultiHeadAttention, weights: Tensor, memory: Tensor) -> Tensor:
    """(B, H, Lq, D)"""
    value = attention.heads.value(memory).view(BATCH, -1, HEADS, HEAD)
    return torch.einsum("bhqk,bkhd->bhqd", weights, value)


def agree(ours: Tensor, theirs: Tensor, error: float = 1e-12) -> None:
    torch.testing.assert_close(ours, theirs, atol=error, rtol=0)


def step_by_step(attention: MultiHeadAttention, sequence: Tensor, memory: Tensor | None, sizes: list[int]) -> Tensor:
    """The output for a sequence that comes in pieces of these sizes."""
    cache = Cache(fixed=memory is not None)
    mask = None if memory is None else PADDED
    pieces = sequence.split(sizes, dim=1)
    return torch.cat([attention(piece, memory, mask=mask, cache=cache)[0] for piece in pieces], 1)


# --- talking heads ---------------------------------------------------------------------------------------------------


def test_talking_heads_are_those_of_a_plain_loop() -> None:
    attention, query, memory = layer("talking_heads"), inputs(QUERIES), inputs(KEYS, 2)
    before, after = attention.core.operation.before.tolist(), attention.core.operation.after.tolist()
    weights = attention(query, memory, mask=PADDED, weights=True)[1].detach()
    scores = scores_of(attention, query, memory)
    for b in range(BATCH):
        there = int(PADDED[b].sum())
        for i in range(QUERIES):
            mixed = [
                [sum(before[g][h] * float(scores[b, h, i, j]) for h in range(HEADS)) for j in range(there)]
                for g in range(HEADS)
            ]
            normal = [softmax(row) for row in mixed]
            for g in range(HEADS):
                expected = [sum(after[g][h] * normal[h][j] for h in range(HEADS)) for j in range(there)]
                agree(weights[b, g, i], torch.tensor(expected + [0.0] * (KEYS - there), dtype=torch.float64))


def test_talking_heads_start_as_multi_head_attention() -> None:
    attention, query, memory = layer("talking_heads", started=False), inputs(QUERIES), inputs(KEYS, 2)
    agree(attention(query, memory)[0], like(attention, "scaled_dot_product")(query, memory)[0])


# --- differential ----------------------------------------------------------------------------------------------------


def test_differential_attention_is_that_of_diffllama() -> None:
    from transformers import DiffLlamaConfig
    from transformers.models.diffllama.modeling_diffllama import DiffLlamaAttention, lambda_init_fn

    config = DiffLlamaConfig(
        hidden_size=WIDTH,
        num_attention_heads=2 * HEADS,
        num_key_value_heads=2 * HEADS,
        attention_bias=True,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
    )
    theirs = DiffLlamaAttention(config, 3).eval()
    start = lambda_init_fn(3)
    ours = layer("differential", {"lambda_init": start}, "decoder_self", rotary=True).float()
    operation, heads = ours.core.operation, ours.heads
    # Their head h has the maps h and H + h, and as its values those of the heads h and H + h, one behind the other.
    half = HEAD // 2
    order = torch.cat([torch.arange(half) + half * (2 * h + part) for part in range(2) for h in range(HEADS)])
    with torch.no_grad():
        operation.norm.weight.fill_(1.0)  # theirs has none
        for their, our in ((theirs.q_proj, heads.query), (theirs.k_proj, heads.key), (theirs.v_proj, heads.value)):
            their.weight.copy_(our.weight[order])
            their.bias.copy_(our.bias[order])
        for index, (query, key) in enumerate(
            ((theirs.lambda_q1, theirs.lambda_k1), (theirs.lambda_q2, theirs.lambda_k2))
        ):
            query.copy_(operation.lambda_query[index])
            key.copy_(operation.lambda_key[index])
        theirs.o_proj.load_state_dict(ours.output.state_dict())
    sequence = inputs(KEYS).float()
    angles = torch.arange(KEYS)[:, None] * (1.0 / 10000 ** (torch.arange(0, half, 2) / half))
    twice = torch.cat((angles, angles), -1)[None]
    future = torch.full((KEYS, KEYS), -torch.inf).triu(1)[None, None]
    expected, maps = theirs(sequence, (twice.cos(), twice.sin()), future)
    output, weights = ours(sequence, weights=True)
    agree(output, expected, 1e-5)
    first, second = ((q * k).sum().exp() for q, k in zip(operation.lambda_query, operation.lambda_key, strict=True))
    agree(weights, maps[:, :HEADS] - (first - second + start) * maps[:, HEADS:], 1e-5)


@torch.no_grad()
def test_differential_attention_is_the_algorithm_of_the_paper() -> None:
    attention, query, memory = layer("differential", {"lambda_init": 0.6}), inputs(QUERIES), inputs(KEYS, 2)
    operation = attention.core.operation
    scores = scores_of(attention, query, memory, maps=2)
    (q1, q2), (k1, k2) = operation.lambda_query.tolist(), operation.lambda_key.tolist()
    first, second = (math.exp(sum(a * b for a, b in zip(q, k, strict=True))) for q, k in ((q1, k1), (q2, k2)))
    share = first - second + 0.6
    heads = []
    for h in range(HEADS):
        weights = scores[:, 2 * h].softmax(-1) - share * scores[:, 2 * h + 1].softmax(-1)
        value = attention.heads.value(memory)[..., h * HEAD : (h + 1) * HEAD]
        mixed = weights @ value
        root = (mixed.square().sum(-1, keepdim=True) / HEAD + 1e-5).sqrt()
        heads.append((1 - 0.6) * mixed / root * operation.norm.weight)
    agree(attention(query, memory)[0], attention.output(torch.cat(heads, -1)))


# --- output gate -----------------------------------------------------------------------------------------------------


def test_the_output_gate_is_that_of_qwen3_next() -> None:
    """Theirs normalises queries and keys to a length of √D, so its scores are cosines times √D."""
    from transformers import Qwen3NextConfig
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextAttention

    config = Qwen3NextConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD,
        rms_norm_eps=1e-12,
        attn_implementation="eager",
    )
    theirs = Qwen3NextAttention(config, 3).eval()
    parts = {"score": "cosine", "operation": "output_gate", "position": "rotary"}
    ours = layer("composed", parts, "decoder_self").float()
    gate = ours.core.operation.gate.weight.view(HEADS, HEAD, WIDTH)
    with torch.no_grad():
        ours.core.score.temperature.fill_(math.sqrt(HEAD))
        for projection in (ours.heads.query, ours.heads.key, ours.heads.value, ours.output):
            projection.bias.zero_()  # theirs has none
        both = torch.cat((ours.heads.query.weight.view(HEADS, HEAD, WIDTH), gate), 1)
        theirs.q_proj.weight.copy_(both.flatten(0, 1))
        theirs.k_proj.weight.copy_(ours.heads.key.weight)
        theirs.v_proj.weight.copy_(ours.heads.value.weight)
        theirs.o_proj.weight.copy_(ours.output.weight)
    sequence = inputs(KEYS).float()
    angles = torch.arange(KEYS)[:, None] * (1.0 / 10000 ** (torch.arange(0, HEAD, 2) / HEAD))
    twice = torch.cat((angles, angles), -1)[None]
    future = torch.full((KEYS, KEYS), -torch.inf).triu(1)[None, None]
    expected, seen = theirs(sequence, (twice.cos(), twice.sin()), future)
    output, weights = ours(sequence, weights=True)
    agree(output, expected, 1e-5)
    agree(weights, seen, 1e-5)


def test_the_output_gate_lets_through_what_the_query_says() -> None:
    attention, query, memory = layer("output_gate"), inputs(QUERIES), inputs(KEYS, 2)
    mixed = mixed_by(attention, scores_of(attention, query, memory).softmax(-1), memory)
    gate = torch.sigmoid(query @ attention.core.operation.gate.weight.T)  # (B, Lq, W): head after head
    expected = attention.output(mixed.transpose(1, 2).reshape(BATCH, QUERIES, WIDTH) * gate)
    agree(attention(query, memory)[0], expected)


def test_the_output_gate_can_be_fused(monkeypatch) -> None:
    attention = layer("output_gate")
    monkeypatch.setattr(Composition, "FUSED_FROM", 1)
    assert attention.core.path(attention.call(inputs(QUERIES), inputs(KEYS, 2))[0]) == "fused"


# --- selective -------------------------------------------------------------------------------------------------------


def selective_by_hand(scores: Tensor, exists: Tensor) -> Tensor:
    """scores (B, H, L, L) before anything is forgotten → weights, query by query with a running sum."""
    weights = torch.zeros_like(scores)
    length = scores.shape[-1]
    for b in range(len(scores)):
        forgotten = [0.0] * length
        for i in range(length):
            seen = [j for j in range(i + 1) if exists[b, j]]
            for h in range(scores.shape[1]):
                if seen:
                    row = softmax([float(scores[b, h, i, j]) - forgotten[j] for j in seen])
                    weights[b, h, i, seen] = torch.tensor(row, dtype=torch.float64)
            for j in seen:
                if j not in (0, i):
                    forgotten[j] += max(0.0, float(scores[b, 0, i, j]))
    return weights


def test_selective_attention_is_that_of_a_plain_loop() -> None:
    attention, sequence = layer("selective", place="decoder_self"), inputs(KEYS)
    expected = selective_by_hand(scores_of(attention, sequence, sequence), PADDED)
    weights = attention(sequence, mask=PADDED, weights=True)[1]
    agree(weights, expected)
    plain = like(attention, "scaled_dot_product")(sequence, mask=PADDED, weights=True)[1]
    assert (weights - plain).abs().max() > 0.1


@pytest.mark.parametrize("sizes", [[1] * 14, [3, 1, 1, 5, 4], [13, 1]])
@pytest.mark.parametrize("parts", [{}, {"pattern": "local", "window": 4}])
def test_selective_attention_in_pieces_is_the_full_pass(sizes: list[int], parts: dict) -> None:
    """A window's cache drops keys, and the sum over past queries with them."""
    attention = layer("composed", {"operation": "selective", **parts}, "decoder_self", rotary=True)
    sequence = inputs(14)
    agree(step_by_step(attention, sequence, None, sizes), attention(sequence)[0])


# --- local-p ---------------------------------------------------------------------------------------------------------


def local_p_by_hand(attention: MultiHeadAttention, query: Tensor, memory: Tensor, exists: Tensor, w: int) -> Tensor:
    operation = attention.core.operation
    scores = scores_of(attention, query, memory)
    weights = torch.zeros_like(scores)
    for b in range(BATCH):
        there = int(exists[b].sum())
        for h in range(HEADS):
            matrix = operation.hidden.weight[h * HEAD : (h + 1) * HEAD].detach()
            vector = operation.vector[h].tolist()
            for i in range(query.shape[1]):
                hidden = [math.tanh(float(value)) for value in matrix @ query[b, i]]
                place = there / (1 + math.exp(-sum(v * t for v, t in zip(vector, hidden, strict=True))))
                near = [j for j in range(there) if place - w <= j <= place + w]
                row = softmax([float(scores[b, h, i, j]) for j in near])
                for j, weight in zip(near, row, strict=True):
                    weights[b, h, i, j] = weight * math.exp(-((j - place) ** 2) / (2 * (w / 2) ** 2))
    return weights


@pytest.mark.parametrize("window", [1, 2, 8])
def test_local_p_is_that_of_a_plain_loop(window: int) -> None:
    attention, query, memory = layer("local_p", {"window": window}), inputs(QUERIES), inputs(KEYS, 2)
    expected = local_p_by_hand(attention, query, memory, PADDED, window)
    weights = attention(query, memory, mask=PADDED, weights=True)[1]
    agree(weights, expected)
    everything = local_p_by_hand(attention, query, memory, torch.ones_like(PADDED), window)
    agree(attention(query, memory, weights=True)[1], everything)
    assert bool((expected[0] == 0).any()) == (window < 8)


@torch.no_grad()
def test_a_window_is_empty_only_where_there_is_no_key() -> None:
    """Even where p is as far to one side as it can be."""
    attention, query, memory = layer("local_p", {"window": 1}), inputs(1)[:1].expand(BATCH, -1, -1), inputs(KEYS, 2)
    exists = PADDED.clone()
    exists[1, 1:] = False
    operation = attention.core.operation
    hidden = torch.tanh(operation.hidden(query))[0, 0].view(HEADS, HEAD)
    for far, nearest in ((-1e4, (0, 0)), (1e4, (KEYS - 1, 0))):
        operation.vector.copy_(far * hidden)
        weights = attention(query, memory, mask=exists, weights=True)[1][:, :, 0]
        assert (weights[0, :, nearest[0]] > 0).all()
        assert (weights[1, :, nearest[1]] > 0).all()


def test_gradients_of_local_p_come_through_the_gaussian() -> None:
    attention, query, memory = layer("local_p", {"window": 2}), inputs(QUERIES), inputs(KEYS, 2)
    attention(query, memory)[0].square().sum().backward()
    for parameter in attention.core.operation.parameters():
        assert (parameter.grad.unflatten(0, (HEADS, -1)).abs().amax((1, 2)) > 1e-6).all()


def test_local_p_knows_places_beyond_what_bfloat16_can_count() -> None:
    """In bfloat16 there is no integer between 512 and 516."""
    attention = layer("local_p", {"window": 2}).bfloat16()
    with torch.no_grad():
        attention.core.operation.vector.zero_()  # p = S / 2
    weights = attention(inputs(1).bfloat16(), inputs(1030, 2).bfloat16(), weights=True)[1]
    reached = (weights[0, 0, 0] != 0).nonzero().flatten().tolist()
    assert reached == [513, 514, 515, 516, 517]


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"window": 0}, "cross", "must be 1 or more, not 0"),
        ({}, "decoder_self", "needs the number of keys"),
    ],
)
def test_local_p_refuses_what_it_cannot_do(options: dict, place: Place, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer("composed", {"operation": "local_p", **options}, place)


def test_what_an_operation_forbids_is_forbidden_beside_what_the_pattern_forbids() -> None:
    options = {"operation": "local_p", "pattern": "local", "window": 2}
    attention, query, memory = layer("composed", options), inputs(QUERIES), inputs(KEYS, 2)
    together = attention(query, memory, mask=PADDED, weights=True)[1] != 0
    alone = like(attention, "local_p", window=2)(query, memory, mask=PADDED, weights=True)[1] != 0
    near = (torch.arange(QUERIES)[:, None] - torch.arange(KEYS)).abs() <= 2
    assert torch.equal(together, alone & near)
    assert not torch.equal(together, alone)


# --- coverage --------------------------------------------------------------------------------------------------------


def coverage_by_hand(scores: Tensor, strength: list[float], exists: Tensor) -> Tensor:
    weights = torch.zeros_like(scores)
    for b in range(BATCH):
        there = exists[b].nonzero().flatten().tolist()
        for h in range(HEADS):
            covered = dict.fromkeys(there, 0.0)
            for i in range(scores.shape[2]):
                row = softmax([float(scores[b, h, i, j]) + strength[h] * covered[j] for j in there])
                for j, weight in zip(there, row, strict=True):
                    covered[j] += weight
                    weights[b, h, i, j] = weight
    return weights


def test_coverage_is_that_of_a_plain_loop() -> None:
    attention, query, memory = layer("coverage"), inputs(QUERIES), inputs(KEYS, 2)
    strength = [-1.5, 0.5, -0.2, -3.0]
    with torch.no_grad():
        attention.core.operation.strength.copy_(torch.tensor(strength, dtype=torch.float64))
    scores = scores_of(attention, query, memory)
    expected = coverage_by_hand(scores, strength, PADDED)
    weights = attention(query, memory, mask=PADDED, weights=True)[1]
    agree(weights, expected)
    agree(attention(query, memory, weights=True)[1], coverage_by_hand(scores, strength, torch.ones_like(PADDED)))
    plain = like(attention, "scaled_dot_product")(query, memory, mask=PADDED, weights=True)[1]
    assert (weights - plain).abs().max() > 0.1


def test_coverage_starts_as_plain_attention_and_can_leave_it() -> None:
    attention, query, memory = layer("coverage", started=False), inputs(QUERIES), inputs(KEYS, 2)
    output, _ = attention(query, memory)
    agree(output, like(attention, "scaled_dot_product")(query, memory)[0])
    output.square().sum().backward()
    assert (attention.core.operation.strength.grad.abs() > 1e-6).all()


@pytest.mark.parametrize("sizes", [[1] * 9, [4, 1, 3, 1]])
@pytest.mark.parametrize("normaliser", ["softmax", "sparsemax"])
def test_coverage_in_pieces_is_the_full_pass(sizes: list[int], normaliser: str) -> None:
    attention = layer("composed", {"operation": "coverage", "normaliser": normaliser})
    sequence, memory = inputs(9), inputs(KEYS, 2)
    agree(step_by_step(attention, sequence, memory, sizes), attention(sequence, memory, mask=PADDED)[0])


def test_coverage_of_what_a_decoder_has_said_is_the_full_pass() -> None:
    attention, sequence = layer("composed", {"operation": "coverage"}, "decoder_self"), inputs(9)
    agree(step_by_step(attention, sequence, None, [1, 1, 4, 3]), attention(sequence)[0])
