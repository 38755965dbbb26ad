"""Positions that add to scores: against transformers, or a plain loop of the paper's formula where it has none."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from attention_lab.attention import Cache, MultiHeadAttention, Place, mechanism
from attention_lab.attention.biases import BIASES, T5, ALiBi, SameWord
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Call, Sizes
from attention_lab.errors import InputError

BATCH, HEADS, LENGTH, HEAD = 2, 3, 11, 12
WIDTH = HEADS * HEAD
# 3D = 36 has a whole root, which transformers computes in float32: so DeBERTa, too, can be compared in float64.
EXACT = pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])


def layer(
    name: str, place: Place, dtype: torch.dtype = torch.float64, width: int = WIDTH, **options: object
) -> MultiHeadAttention:
    """With every parameter away from where it starts: some start at 0."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(width, HEADS, mechanism(name, options), place)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return attention.to(dtype).eval()


def inputs(width: int = WIDTH, length: int = LENGTH, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(BATCH, length, width, dtype=dtype, generator=torch.Generator().manual_seed(1))


def bias_of(attention: MultiHeadAttention, call: Call) -> Tensor:
    """What is added to the scores, (B, H, Lq, Lk), with the scores that it may read."""
    scores = attention.core.score(call.query, call.key, call.where)
    return attention.core.position.bias(call, scores).expand_as(scores).detach()


def copy(ours: MultiHeadAttention, *theirs: nn.Linear) -> None:
    """Their projections of queries, keys and values, and back, into our layer."""
    with torch.no_grad():
        for mine, other in zip((ours.heads.query, ours.heads.key, ours.heads.value, ours.output), theirs, strict=False):
            mine.weight.copy_(other.weight)
            mine.bias.zero_() if other.bias is None else mine.bias.copy_(other.bias)


def conformer(kind: str, dtype: torch.dtype) -> tuple[nn.Module, object]:
    from transformers import Wav2Vec2BertConfig
    from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention

    config = Wav2Vec2BertConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        position_embeddings_type=kind,
        left_max_position_embeddings=4,
        right_max_position_embeddings=4,
        max_source_positions=LENGTH,
        attn_implementation="eager",
    )
    torch.manual_seed(2)
    theirs = Wav2Vec2BertSelfAttention(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    return theirs.to(dtype), config


@EXACT
def test_shaw_is_the_relative_key_of_wav2vec2_bert(dtype: torch.dtype, error: float) -> None:
    theirs, _ = conformer("relative_key", dtype)
    ours = layer("shaw", "encoder_self", dtype, distance=4)
    copy(ours, theirs.linear_q, theirs.linear_k, theirs.linear_v, theirs.linear_out)
    with torch.no_grad():
        ours.core.position.vectors.copy_(theirs.distance_embedding.weight)
    expected, seen = theirs(inputs(dtype=dtype))
    output, weights = ours(inputs(dtype=dtype), weights=True)
    torch.testing.assert_close(output, expected, atol=error, rtol=0)
    torch.testing.assert_close(weights, seen, atol=error, rtol=0)


@EXACT
def test_transformer_xl_is_the_relative_attention_of_wav2vec2_bert(dtype: torch.dtype, error: float) -> None:
    from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertRelPositionalEmbedding

    theirs, config = conformer("relative", dtype)
    ours = layer("transformer_xl", "encoder_self", dtype)
    copy(ours, theirs.linear_q, theirs.linear_k, theirs.linear_v, theirs.linear_out)
    with torch.no_grad():
        position = ours.core.position
        position.matrix.copy_(theirs.linear_pos.weight.view(HEADS, HEAD, WIDTH).transpose(1, 2))
        position.content.copy_(theirs.pos_bias_u.unsqueeze(1))
        position.place.copy_(theirs.pos_bias_v.unsqueeze(1))
    expected, seen = theirs(
        inputs(dtype=dtype),
        relative_position_embeddings=Wav2Vec2BertRelPositionalEmbedding(config)(inputs(dtype=dtype)),
    )
    output, weights = ours(inputs(dtype=dtype), weights=True)
    torch.testing.assert_close(output, expected, atol=error, rtol=0)
    torch.testing.assert_close(weights, seen, atol=error, rtol=0)


@pytest.mark.parametrize("place", ["encoder_self", "decoder_self"])
@torch.no_grad()
def test_transformer_xl_is_the_formula_of_the_paper(place: Place) -> None:
    """As a plain loop, with an odd D and an odd width of the model."""
    width, head = 15, 5
    attention = layer("transformer_xl", place, width=width)
    call, _ = attention.call(inputs(width))
    position, found = attention.core.position, bias_of(attention, call)
    for b, h, i, j in product(range(BATCH), range(HEADS), range(LENGTH), range(LENGTH)):
        if place == "decoder_self" and j > i:
            continue
        rates = [(i - j) / 10000 ** (2 * (f // 2) / width) for f in range(width)]
        sinusoid = torch.tensor([math.cos(x) if f % 2 else math.sin(x) for f, x in enumerate(rates)]).double()
        there = sinusoid @ position.matrix[h]
        query, key = call.query[b, h, i], call.key[b, h, j]
        expected = (position.content[h, 0] @ key + (query + position.place[h, 0]) @ there) / math.sqrt(head)
        assert float(found[b, h, i, j]) == pytest.approx(float(expected), abs=1e-5)


@EXACT
@pytest.mark.parametrize("place", ["encoder_self", "decoder_self"])
def test_t5_is_the_attention_of_t5(place: Place, dtype: torch.dtype, error: float) -> None:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    config = T5Config(
        d_model=WIDTH,
        num_heads=HEADS,
        d_kv=HEAD,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=9,
        is_decoder=place == "decoder_self",
        dropout_rate=0.0,
        attn_implementation="eager",
    )
    torch.manual_seed(2)
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs = theirs.to(dtype)
    ours = layer("t5", place, dtype, buckets=8, distance=9)
    copy(ours, theirs.q, theirs.k, theirs.v, theirs.o)
    with torch.no_grad():
        ours.core.position.numbers.copy_(theirs.relative_attention_bias.weight)
    ahead = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1) & (place == "decoder_self")
    mask = torch.zeros(1, 1, LENGTH, LENGTH, dtype=dtype).masked_fill(ahead, -torch.inf)
    expected = theirs(inputs(dtype=dtype), mask=mask)[0]
    torch.testing.assert_close(ours(inputs(dtype=dtype))[0], expected, atol=error, rtol=0)


@pytest.mark.parametrize("place", ["encoder_self", "decoder_self"])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (8, 20), (16, 64), (32, 256), (64, 1000)])
def test_t5_buckets_are_those_of_t5(place: Place, buckets: int, distance: int) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    position = T5(Sizes(HEADS, HEAD, WIDTH, 64, place), buckets=buckets, distance=distance)
    every = torch.arange(-distance - 50, distance + 51)
    theirs = T5Attention._relative_position_bucket(every, place == "encoder_self", buckets, distance)
    assert position.bucket(every).tolist() == theirs.tolist()


def test_t5_has_a_bucket_for_each_near_distance_and_one_for_all_that_are_far() -> None:
    decoder = T5(Sizes(HEADS, HEAD, WIDTH, 64, "decoder_self"))
    assert decoder.bucket(torch.tensor([3, 0, -1, -15, -16, -112, -113, -128, -999])).tolist() == [
        *(0, 0, 1, 15, 16),
        *(30, 31, 31, 31),
    ]
    encoder = T5(Sizes(HEADS, HEAD, WIDTH, 64, "encoder_self"))
    assert encoder.bucket(torch.tensor([0, -1, 1, -7, 7, -8, 8, -999, 999])).tolist() == [
        *(0, 1, 17, 7, 23),
        *(8, 24, 15, 31),
    ]


@pytest.mark.parametrize("options", [{"buckets": 2}, {"buckets": 32, "distance": 8}])
def test_t5_refuses_buckets_that_do_not_fit(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="buckets do not divide distances"):
        layer("t5", "encoder_self", **options)


def test_alibi_slopes_of_8_heads_are_those_of_the_paper() -> None:
    slopes = ALiBi(Sizes(8, HEAD, WIDTH, 64, "decoder_self")).slopes(torch.zeros(1))
    assert slopes.tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]


@pytest.mark.parametrize("heads", range(1, 21))
def test_alibi_is_that_of_bloom_and_mpt(heads: int) -> None:
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    torch.manual_seed(0)
    attention = MultiHeadAttention(2 * heads, heads, mechanism("alibi"), "decoder_self")
    call, _ = attention.call(torch.randn(1, LENGTH, 2 * heads))
    found = bias_of(attention, call)[0]  # (H, Lq, Lk)
    # Bloom counts keys from the first on, not from the query: the softmax does not see the difference.
    bloom = build_alibi_tensor(torch.ones(1, LENGTH, dtype=torch.long), heads, torch.float32)
    torch.testing.assert_close(found[:, -1:], bloom - bloom[..., -1:], atol=1e-5, rtol=0)
    mpt = build_mpt_alibi_tensor(heads, LENGTH)
    torch.testing.assert_close(found[:, -1:].sort(0).values, mpt.sort(0).values, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, found.transpose(1, 2))  # keys before and behind the query count alike


@EXACT
def test_deberta_is_disentangled_self_attention(dtype: torch.dtype, error: float) -> None:
    from transformers import DebertaV2Config
    from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention

    reach = 4  # less than the length: distances are clipped
    config = DebertaV2Config(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        relative_attention=True,
        max_relative_positions=reach,
        pos_att_type=["c2p", "p2c"],
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    )
    torch.manual_seed(2)
    theirs = DisentangledSelfAttention(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs, table = theirs.to(dtype), torch.randn(2 * reach, WIDTH, dtype=dtype)
    ours = layer("deberta", "encoder_self", dtype, distance=reach)
    copy(ours, theirs.query_proj, theirs.key_proj, theirs.value_proj)
    with torch.no_grad():
        split = (2 * reach, HEADS, HEAD)
        ours.core.position.keys.copy_(theirs.pos_key_proj(table).view(split).transpose(0, 1))
        ours.core.position.queries.copy_(theirs.pos_query_proj(table).view(split).transpose(0, 1))
    exists = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 3]])
    expected, seen = theirs(inputs(dtype=dtype), exists[:, None, None], output_attentions=True, rel_embeddings=table)
    call, value = ours.call(inputs(dtype=dtype), mask=exists)
    mixed, weights = ours.core(call, value, weights=True)
    torch.testing.assert_close(mixed.transpose(1, 2).flatten(2), expected, atol=error, rtol=0)
    torch.testing.assert_close(weights, seen, atol=error, rtol=0)


@EXACT
@torch.no_grad()
def test_cope_counts_the_gates_between_key_and_query(dtype: torch.dtype, error: float) -> None:
    """A plain loop of section 4: few positions, so that some are clipped; padding is not counted."""
    attention = layer("cope", "decoder_self", dtype, positions=4)
    exists = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    exists[1, 4:6] = False  # where it stands in the way
    call, _ = attention.call(inputs(dtype=dtype), mask=exists)
    found, vectors = bias_of(attention, call), attention.core.position.vectors.double()
    clipped = 0
    for b, h, i in product(range(BATCH), range(HEADS), range(LENGTH)):
        query = call.query[b, h, i].double()
        for j in range(i + 1):
            position = 0.0
            for k in range(j, i + 1):
                score = float(query @ call.key[b, h, k].double()) / math.sqrt(HEAD)
                position += bool(exists[b, k]) / (1.0 + math.exp(-score))
            clipped += position > 3.0
            position = min(position, 3.0)
            low, high = math.floor(position), math.ceil(position)
            vector = (1.0 - (position - low)) * vectors[low] + (position - low) * vectors[high]
            assert float(found[b, h, i, j]) == pytest.approx(float(query @ vector), abs=error)
    assert clipped > 0


@EXACT
@torch.no_grad()
def test_forgetting_sums_the_gates_behind_the_key(dtype: torch.dtype, error: float) -> None:
    """A plain loop, for all positions at once and for the last in steps of 4, 1, 1, …"""
    attention = layer("forgetting", "decoder_self", dtype)
    sequence, gate, cache = inputs(dtype=dtype), attention.core.position.gate, Cache()
    whole = bias_of(attention, attention.call(sequence)[0])
    for start, end in [(0, 4), *((step, step + 1) for step in range(4, LENGTH))]:
        stepped = bias_of(attention, attention.call(sequence[:, start:end], cache=cache)[0])
    logits = sequence.double() @ gate.weight.double().T + gate.bias.double()
    for b, h, i in product(range(BATCH), range(HEADS), range(LENGTH)):
        for j in range(i + 1):
            expected = sum(math.log(1.0 / (1.0 + math.exp(-float(logits[b, k, h])))) for k in range(j + 1, i + 1))
            assert float(whole[b, h, i, j]) == pytest.approx(expected, abs=error)
            if i == LENGTH - 1:
                assert float(stepped[b, h, 0, j]) == pytest.approx(expected, abs=error)


def test_a_window_keeps_no_more_gates_than_keys() -> None:
    attention = layer("composed", "decoder_self", position="forgetting", pattern="local", window=5)
    sequence, cache = inputs(length=20), Cache()
    full, _ = attention(sequence)
    for step in range(20):
        output, _ = attention(sequence[:, step : step + 1], cache=cache)
        torch.testing.assert_close(output[:, 0], full[:, step])
    assert cache.kept["forget"].shape[-1] <= cache.kept["key"].shape[-2] + 1


@pytest.mark.parametrize("place", ["encoder_self", "decoder_self"])
@pytest.mark.parametrize("name", BIASES)
def test_a_window_over_a_long_text_gives_what_the_explicit_path_gives(name: str, place: Place, monkeypatch) -> None:
    """Rows of blocks have positions of their own. Only what needs the whole text is not cut into blocks."""
    if name in ("cope", "forgetting") and place == "encoder_self":
        with pytest.raises(InputError, match=f"{name} is not for encoder self-attention"):
            layer("composed", place, position=name)
        return
    attention = layer("composed", place, position=name, pattern="local", window=9)
    sequence = inputs(length=150)
    exists = torch.arange(150) < torch.tensor([[150], [131]])
    assert (attention.core.path(attention.call(sequence)[0]) == "blocked") == (name != "forgetting")
    explicit, _ = attention(sequence, mask=exists, weights=True)
    for fused_from in (1, 10_000):
        monkeypatch.setattr(Composition, "FUSED_FROM", fused_from)
        fast, _ = attention(sequence, mask=exists)
        torch.testing.assert_close(fast[exists], explicit[exists])


@pytest.mark.parametrize("name", ["shaw", "t5", "alibi", "deberta", "transformer_xl"])
def test_distances_and_not_places_count(name: str) -> None:
    """What stands 100 positions later is attended to alike."""
    attention = layer(name, "decoder_self")
    call, _ = attention.call(inputs())
    moved = type(call.where)(call.where.queries + 100, call.where.keys + 100, causal=True)
    later = Call(call.inputs, call.query, call.key, moved)
    torch.testing.assert_close(bias_of(attention, later), bias_of(attention, call), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["cope", "forgetting"])
def test_bfloat16_does_not_lose_count(name: str) -> None:
    """8 binary digits are too few to add up 300 positions: a sum is rounded when it is done."""
    attention = layer(name, "decoder_self", torch.bfloat16, **({"positions": 300} if name == "cope" else {}))
    sequence = inputs(length=300).bfloat16()
    rough = bias_of(attention, attention.call(sequence)[0]).double()
    exact = bias_of(attention.double(), attention.call(sequence.double())[0])
    past = torch.ones(300, 300, dtype=torch.bool).tril()
    if name == "cope":  # far keys have high positions, and a wrong position the wrong vectors
        error = (rough - exact)[..., past].abs().median() / exact[..., past].std()
    else:  # near keys have small sums, which are differences of large ones
        near = past.triu(-7)
        error = (rough - exact)[..., near].abs().max() / exact[..., near].abs().max()
    assert float(error) < 0.02


NUMBERS = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "options", "length"),
    [
        ("scaled_dot_product", {}, LENGTH),
        ("shaw", {"distance": 3}, LENGTH),
        ("additive", {}, LENGTH),
        ("longformer", {"window": 4}, 150),  # so long that it would be computed in blocks
    ],
)
@pytest.mark.parametrize("rotary", [False, True])
def test_the_same_word_elsewhere_counts_as_much_more_as_the_head_has_learned(
    name: str, options: dict[str, object], length: int, rotary: bool
) -> None:
    """W ∝ W₀ · exp(n) where the words are the same, with the weights W₀ of a layer that is not told; by any path."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(WIDTH, HEADS, mechanism(name, options), "encoder_self", rotary=rotary, same=True)
    layer = layer.double().eval()
    with torch.no_grad():
        layer.core.position.numbers.copy_(NUMBERS)
    given = inputs(length=length)
    words = torch.randint(5, (BATCH, length), generator=torch.Generator().manual_seed(3))
    same = (words[:, :, None] == words[:, None, :]) & ~torch.eye(length, dtype=torch.bool)
    mask = torch.arange(length) < torch.tensor([[length], [length - 2]])
    _, before = layer(given, mask=mask, weights=True)
    output, after = layer(given, mask=mask, same=same, weights=True)
    odds = before * torch.where(same[:, None], NUMBERS[:, None, None].exp(), 1.0)
    torch.testing.assert_close(after, odds / odds.sum(-1, keepdim=True))
    assert not torch.allclose(before, after, atol=1e-2)
    torch.testing.assert_close(layer(given, mask=mask, same=same)[0], output)
    plain = MultiHeadAttention(WIDTH, HEADS, mechanism(name, options), "encoder_self", rotary=rotary).double().eval()
    state = {name: value for name, value in layer.state_dict().items() if name != "core.position.numbers"}
    plain.load_state_dict({name.replace("position.position.", "position."): value for name, value in state.items()})
    torch.testing.assert_close(plain(given, mask=mask, weights=True)[1], before)


@pytest.mark.parametrize(("heads", "looking"), [(1, 1), (2, 2), (4, 3), (5, 4), (8, 6)])
def test_three_of_four_heads_start_with_a_look_at_the_same_word(heads: int, looking: int) -> None:
    sizes = Sizes(heads=heads, head=HEAD, width=heads * HEAD, length=16, place="encoder_self")
    assert SameWord(sizes, BIASES["alibi"](sizes)).numbers.tolist() == [3.0] * looking + [0.0] * (heads - looking)


def test_a_mechanism_without_scores_cannot_be_told() -> None:
    layer = MultiHeadAttention(WIDTH, HEADS, mechanism("linear"), "encoder_self", same=True).double()
    same = torch.ones(BATCH, LENGTH, LENGTH, dtype=torch.bool)
    assert not any(name.endswith("numbers") for name, _ in layer.named_parameters())
    torch.testing.assert_close(layer(inputs(), same=same)[0], layer(inputs())[0])


def test_transformer_xl_across_two_texts_knows_how_far_apart_they_stand() -> None:
    """A query beyond the last key is further from it than that key is from the first; padding must not tell it so."""
    torch.manual_seed(0)
    row = mechanism("composed", {"position": "transformer_xl"})
    attention = MultiHeadAttention(WIDTH, HEADS, row, "cross").double().eval()
    query, memory = inputs(), inputs(length=3)
    padded, there = torch.cat((memory, inputs(length=2)), 1), (torch.arange(5) < 3).expand(BATCH, -1)
    torch.testing.assert_close(attention(query, padded, mask=there)[0], attention(query, memory)[0])
