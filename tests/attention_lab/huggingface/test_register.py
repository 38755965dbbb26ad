"""Mechanisms in models of transformers: equal to their own attention where that is what the mechanism is, and else held
to the promises of the law.

Weights are drawn wide, so that attention is far from uniform and every mistake in it is seen in the logits.
"""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    StaticCache,
    T5Config,
    T5ForConditionalGeneration,
)

from attention_lab.attention import CATALOGUE, MultiHeadAttention, Place
from attention_lab.attention.catalogue import available
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Sizes, Where, here
from attention_lab.attention.positions import Position
from attention_lab.errors import InputError
from attention_lab.huggingface import Attached, prepare, refused, register, usable
from attention_lab.huggingface.trial import counts_positions

VOCABULARY, LENGTH = 37, 23
ATTENTION = AttentionInterface()

pytestmark = pytest.mark.filterwarnings("error:.*is not for")


@pytest.fixture(scope="module", autouse=True)
def registered() -> list[str]:
    return register()


def rows(place: Place) -> pytest.MarkDecorator:
    """The rows that are usable in that place."""
    return pytest.mark.parametrize("name", [row.name for row in CATALOGUE.values() if refused(row, place) is None])


def bert() -> PreTrainedModel:
    sizes = {"hidden_size": 30, "num_attention_heads": 5, "intermediate_size": 31, "num_hidden_layers": 2}
    return wide(BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **sizes)))


def llama() -> PreTrainedModel:
    sizes = {"hidden_size": 36, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 31}
    return wide(LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, num_hidden_layers=2, **NO_END, **sizes)))


def bart(**more: float) -> PreTrainedModel:
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 2), ("ffn_dim", 31))}
    heads = {"encoder_attention_heads": 5, "decoder_attention_heads": 3, "d_model": 30, "forced_eos_token_id": None}
    return wide(BartForConditionalGeneration(BartConfig(vocab_size=VOCABULARY, **NO_END, **sizes, **heads, **more)))


def t5() -> PreTrainedModel:
    sizes = {"d_model": 30, "d_kv": 7, "num_heads": 4, "d_ff": 31, "num_layers": 2}
    start = {"decoder_start_token_id": 0}
    return wide(T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, **NO_END, **sizes, **start)), 0.3)


def mistral(window: int) -> PreTrainedModel:
    sizes = {"hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 31}
    config = MistralConfig(vocab_size=VOCABULARY, num_hidden_layers=2, sliding_window=window, **NO_END, **sizes)
    return wide(MistralForCausalLM(config))


def opt() -> PreTrainedModel:
    sizes = {"hidden_size": 30, "num_attention_heads": 5, "ffn_dim": 31, "num_hidden_layers": 2}
    return wide(OPTForCausalLM(OPTConfig(vocab_size=VOCABULARY, word_embed_proj_dim=30, **NO_END, **sizes)))


NO_END = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
MODELS = {"bert": bert, "llama": llama, "bart": bart, "t5": t5, "opt": opt}
SEQUENCE_TO_SEQUENCE = ("bart", "t5")


def wide(model: PreTrainedModel, deviation: float = 0.4) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=deviation, generator=generator)
    return model.eval()


# Options that matter in texts of 20 tokens, for the mechanisms that have them.
NARROW = {"window": 2, "dilation": 2, "stride": 4, "block": 3, "blocks": 1, "prefix": 3, "k": 5}


def using(model: PreTrainedModel, name: str) -> PreTrainedModel:
    """With parameters of the mechanism's own away from where they start."""
    torch.manual_seed(1)
    options = {option: value for option, value in NARROW.items() if option in available(CATALOGUE[name])}
    model.set_attn_implementation(*register(name, options))
    for parameter in prepare(model):
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def tokens(rows: int = 3, length: int = LENGTH, seed: int = 2) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def padded(left: bool = False) -> torch.Tensor:
    """Rows of 23, 17 and 4 tokens."""
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [17], [4]])
    return (mask.flip(1) if left else mask).long()


def given(kind: str, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    more = {"decoder_input_ids": tokens(length=11, seed=3)} if kind in SEQUENCE_TO_SEQUENCE else {}
    return {"input_ids": tokens(), "attention_mask": mask, **more}


@torch.no_grad()
def logits(model: PreTrainedModel, **inputs: torch.Tensor) -> torch.Tensor:
    return model(**inputs).logits


# --- what is the model's own attention --------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "scaled_dot_product") for kind in MODELS), ("t5", "dot"), ("opt", "dot")],
)
def test_logits_are_those_of_the_model_itself(kind: str, name: str, left: bool) -> None:
    model, inputs = MODELS[kind](), given(kind, padded(left))
    there = torch.ones(3, 11).bool() if kind in SEQUENCE_TO_SEQUENCE else padded(left).bool()
    model.set_attn_implementation("eager")
    expected = logits(model, **inputs)
    found = logits(using(model, name), **inputs)
    assert (found - expected)[there].abs().max() <= 1e-5 * expected[there].abs().max()
    uniform = logits(using(model, "uniform"), **inputs)
    assert (uniform - expected)[there].abs().max() > 0.1  # that the comparison says something


@pytest.mark.parametrize("kind", MODELS)
def test_weights_are_those_of_the_model_itself(kind: str) -> None:
    model, inputs = MODELS[kind](), given(kind, padded())
    model.set_attn_implementation("eager")
    expected = model(**inputs, output_attentions=True)
    found = using(model, "scaled_dot_product")(**inputs, output_attentions=True)
    names = [name for name in expected if "attentions" in name]
    assert len(names) == (3 if kind in SEQUENCE_TO_SEQUENCE else 1)
    for name in names:
        assert len(found[name]) == len(expected[name]) == 2
        for ours, theirs in zip(found[name], expected[name], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_sliding_window_comes_in_by_the_mask() -> None:
    model, inputs = mistral(5), given("mistral", padded())
    model.set_attn_implementation("eager")
    expected, text = logits(model, **inputs), model.generate(tokens(2, 9), max_new_tokens=8, do_sample=False)
    model = using(model, "scaled_dot_product")
    there = padded().bool()
    torch.testing.assert_close(logits(model, **inputs)[there], expected[there], atol=1e-5, rtol=1e-5)
    assert torch.equal(model.generate(tokens(2, 9), max_new_tokens=8, do_sample=False), text)


# --- the law, for every row ------------------------------------------------------------------------------------------


def padding_changes_nothing(model: nn.Module) -> None:
    together = logits(model, input_ids=tokens(), attention_mask=padded())
    assert together.isfinite().all()
    for row, length in enumerate(padded().sum(-1).tolist()):
        alone = logits(model, input_ids=tokens()[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1, :length], alone, atol=1e-4, rtol=1e-4)


@rows("encoder_self")
def test_padding_changes_nothing_in_an_encoder(name: str) -> None:
    padding_changes_nothing(using(bert(), name))


@rows("decoder_self")
def test_padding_changes_nothing_in_a_decoder(name: str) -> None:
    padding_changes_nothing(using(llama(), name))


@rows("decoder_self")
def test_a_decoder_does_not_look_ahead(name: str) -> None:
    model, changed = using(llama(), name), tokens()
    changed[:, 15:] = tokens(seed=9)[:, 15:]
    before, after = logits(model, input_ids=tokens()), logits(model, input_ids=changed)
    torch.testing.assert_close(before[:, :15], after[:, :15], atol=1e-5, rtol=1e-5)
    assert (before[:, 15:] - after[:, 15:]).abs().max() > 0.1


@rows("decoder_self")
def test_generation_with_a_cache_is_generation_without(name: str) -> None:
    assert_cache_changes_nothing(using(llama(), name), tokens(2, 14))


@rows("cross")
def test_generation_with_a_cache_is_generation_without_in_an_encoder_decoder(name: str) -> None:
    assert_cache_changes_nothing(using(bart(), name), tokens(), attention_mask=padded())


@pytest.mark.parametrize("name", ["sparsemax", "additive", "sink"])
def test_generation_with_a_cache_is_generation_without_where_the_model_has_a_bias(name: str) -> None:
    assert_cache_changes_nothing(using(t5(), name), tokens(), attention_mask=padded())


@pytest.mark.parametrize("name", ["scaled_dot_product", "local", "dilated", "alibi", "t5", "rotary"])
def test_padding_at_the_left_changes_nothing_where_distances_alone_count(name: str) -> None:
    """Not with vectors of positions (shaw, cope): the queries of Llama are turned by where they stand."""
    model, ids = using(llama(), name), tokens()
    together = logits(model, input_ids=ids, attention_mask=padded(left=True))
    for row, length in enumerate(padded().sum(-1).tolist()):
        alone = logits(model, input_ids=ids[row : row + 1, -length:])
        torch.testing.assert_close(together[row : row + 1, -length:], alone, atol=1e-4, rtol=1e-4)


def assert_cache_changes_nothing(model: PreTrainedModel, ids: torch.Tensor, **more: torch.Tensor) -> None:
    found, expected = (
        model.generate(
            ids,
            max_new_tokens=6,
            do_sample=False,
            use_cache=cache,
            output_logits=True,
            return_dict_in_generate=True,
            **more,
        )
        for cache in (True, False)
    )
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(torch.stack(found.logits), torch.stack(expected.logits), atol=1e-4, rtol=1e-4)


@rows("cross")
def test_padding_of_a_source_changes_nothing(name: str) -> None:
    model, target = using(bart(), name), tokens(length=11, seed=3)
    together = logits(model, input_ids=tokens(), attention_mask=padded(), decoder_input_ids=target)
    alone = logits(model, input_ids=tokens()[1:2, :17], decoder_input_ids=target[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "place"),
    [(row.name, place) for row in CATALOGUE.values() for place in row.places if refused(row, place) is None],
)
def test_it_is_the_mechanism_of_our_own_layer(name: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same queries, keys and values, on the explicit path and on the one that is fused where it can be."""
    row = CATALOGUE[name]
    torch.manual_seed(3)
    layer = MultiHeadAttention(24, 4, row, place, length=16).eval()
    attached = Attached(row, Sizes(heads=4, head=6, width=24, length=16, place=place)).eval()
    state = {key.replace("position.", "position.own."): value for key, value in layer.core.state_dict().items()}
    attached.core.load_state_dict(state)
    inputs, memory = torch.randn(2, 9, 24), torch.randn(2, 9, 24) if place == "cross" else None
    call, value = layer.call(inputs, memory)
    expected, weights = layer.core(call, value, weights=True)
    expected = layer.core.operation.output(expected, call).transpose(1, 2)
    as_it_comes = Position(Sizes(heads=4, head=6, width=24, length=16, place=place))
    query = layer.heads.queries(inputs, as_it_comes, call.where.queries)
    kept = layer.heads.remember(inputs if memory is None else memory, as_it_comes, call.where.keys)
    past = torch.ones(1, 1, 9, 9).bool().tril() if place == "decoder_self" else None
    where = Where(call.where.queries, call.where.keys, allowed=past)
    monkeypatch.setattr(Composition, "FUSED_FROM", 1)
    for asked in (True, False):
        found, seen = attached(query, *layer.heads.recall(kept), where, weights=asked)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        if asked:
            torch.testing.assert_close(seen, weights, atol=1e-5, rtol=1e-5)


# --- masks, scaling, positions ---------------------------------------------------------------------------------------


class Module(nn.Module):
    """As little of an attention module as there can be."""

    def __init__(self, is_causal: bool = False) -> None:
        super().__init__()
        self.is_causal = is_causal


def vectors(queries: int = 5, keys: int = 7, key_heads: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = ((3, 6, queries, 8), (3, key_heads, keys, 8), (3, key_heads, keys, 8))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def by_hand(
    query: torch.Tensor, key: torch.Tensor, allowed: torch.Tensor, bias: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """softmax(q·k / √D + bias) over what is allowed; 0 where nothing is."""
    scores = query @ key.repeat_interleave(3, 1).transpose(-2, -1) / 8**0.5 + bias
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1).nan_to_num()


@pytest.mark.parametrize("kind", ["boolean", "lowest", "infinite", "biased"])
def test_every_kind_of_mask_is_understood(kind: str) -> None:
    query, key, value = vectors()
    allowed = torch.rand(3, 1, 5, 7, generator=torch.Generator().manual_seed(5)) < 0.6
    allowed[1, :, 2] = False  # a query that may attend to nothing
    bias = torch.randn(3, 1, 5, 7) if kind == "biased" else torch.zeros(3, 1, 5, 7)
    forbidden = -torch.inf if kind == "infinite" else torch.finfo(torch.float32).min
    mask = allowed if kind == "boolean" else bias.masked_fill(~allowed, forbidden)
    call = ATTENTION["attention_lab.scaled_dot_product"]
    output, weights = call(Module(), query, key, value, mask, output_attentions=True)
    expected = by_hand(query, key, allowed, bias)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(output, (expected @ value.repeat_interleave(3, 1)).transpose(1, 2))
    assert output.is_contiguous()
    assert (output[1, 2] == 0.0).all()
    longer = torch.cat((mask, mask[..., :2]), -1)  # a mask for keys that are not there yet
    torch.testing.assert_close(call(Module(), query, key, value, longer)[0], output)


def test_a_bias_of_positions_is_added_and_learns() -> None:
    query, key, value = vectors()
    bias = torch.randn(1, 6, 5, 7).requires_grad_()
    allowed = torch.ones(3, 1, 5, 7).bool()
    allowed[2, ..., 4:] = False
    for mask in (None, allowed, torch.zeros(3, 1, 5, 7).masked_fill(~allowed, torch.finfo(torch.float32).min)):
        call = ATTENTION["attention_lab.scaled_dot_product"]
        _, weights = call(Module(), query, key, value, mask, position_bias=bias, output_attentions=True)
        expected = by_hand(query, key, torch.ones_like(allowed) if mask is None else allowed, bias)
        torch.testing.assert_close(weights, expected)
        ours, theirs = (torch.autograd.grad(w[:, :, 1, 1].sum(), bias, retain_graph=True) for w in (weights, expected))
        torch.testing.assert_close(ours, theirs)


def test_a_bias_reaches_the_paths_that_make_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a window, and the fused kernel."""
    query, key, value = vectors(300, 300)
    bias = torch.randn(1, 6, 300, 300)
    for name in ("local", "scaled_dot_product"):
        call, module = ATTENTION[f"attention_lab.{name}"], Module()
        expected, _ = call(module, query, key, value, None, position_bias=bias, output_attentions=True)
        monkeypatch.setattr(type(module.attention_lab[name].core), "FUSED_FROM", 1)
        found, nothing = call(module, query, key, value, None, position_bias=bias)
        assert nothing is None
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert (call(module, query, key, value, None)[0] - expected).abs().max() > 0.01


def test_without_a_mask_a_causal_module_is_causal_and_another_is_not() -> None:
    query, key, value = vectors(5, 7)
    call = ATTENTION["attention_lab.scaled_dot_product"]
    past = (torch.arange(7) <= torch.arange(2, 7)[:, None]).expand(3, 1, 5, 7)
    everything = torch.ones_like(past)
    for module, said, allowed in (
        (Module(True), None, past),
        (Module(False), None, everything),
        (nn.Identity(), None, everything),
        (Module(True), False, everything),
        (Module(False), True, past),
    ):
        _, weights = call(module, query, key, value, None, is_causal=said, output_attentions=True)
        torch.testing.assert_close(weights, by_hand(query, key, allowed))
        # A mask says all there is to say: the prefix of a text may be seen from everywhere.
        _, weights = call(module, query, key, value, everything, is_causal=said, output_attentions=True)
        torch.testing.assert_close(weights, by_hand(query, key, everything))


@pytest.mark.parametrize("name", ["scaled_dot_product", "softcap", "shaw", "transformer_xl", "deberta", "dot"])
def test_the_models_factor_stands_where_a_formula_has_one_over_root_d(name: str) -> None:
    """Doubling the factor is halving √D in every part of the formula."""
    sizes = Sizes(heads=6, head=8, width=48, length=16, place="encoder_self")
    torch.manual_seed(0)
    narrow = Attached(CATALOGUE[name], sizes).eval()
    as_built = copy.deepcopy(narrow)
    query, key, value = vectors(7, 7)
    where = Where(here(7), here(7))
    _, doubled = narrow(query, key, value, where, scaling=2.0 / 8**0.5, weights=True)
    for part in (as_built.core.score, as_built.core.position.own):
        if getattr(part, "scale", 1.0) != 1.0:
            part.scale *= 2.0
    as_built.scaled = []
    _, expected = as_built(query, key, value, where, weights=True)
    torch.testing.assert_close(doubled, expected)
    _, plain = narrow(query, key, value, where, weights=True)
    assert torch.allclose(plain, doubled) == (name == "dot")
    torch.testing.assert_close(narrow(query, key, value, where, scaling=8**-0.5, weights=True)[1], plain)


def test_what_a_model_does_beside_is_not_left_out_in_silence() -> None:
    with pytest.raises(InputError, match="this model caps its scores"):
        ATTENTION["attention_lab.sparsemax"](Module(), *vectors(), None, softcap=30.0)


@pytest.mark.parametrize("name", ["sparsemax", "local"])
def test_a_cache_of_fixed_size_is_refused_where_positions_count(name: str) -> None:
    model = using(llama(), name)
    cache = StaticCache(config=model.config, max_cache_len=LENGTH + 7)
    if counts_positions(CATALOGUE[name]):
        with pytest.raises(InputError, match=r"attention_lab\.local\(window=2\) counts positions"):
            logits(model, input_ids=tokens(), past_key_values=cache)
    else:
        found = logits(model, input_ids=tokens(), past_key_values=cache)
        torch.testing.assert_close(found, logits(model, input_ids=tokens()), atol=1e-5, rtol=1e-5)


def test_a_cache_that_forgets_is_refused_where_positions_count() -> None:
    model = using(mistral(5), "block_local")
    with pytest.raises(InputError, match="it needs a cache of every key so far"):
        model.generate(tokens(2, 9), max_new_tokens=3, do_sample=False)


# --- weights that are asked for --------------------------------------------------------------------------------------


def test_sparsemax_in_bert_has_weights_of_exactly_zero() -> None:
    model = using(bert(), "sparsemax")
    seen = model(**given("bert", padded()), output_attentions=True).attentions
    there = padded().bool()
    assert len(seen) == 2
    for weights in seen:
        assert weights.shape == (3, 5, LENGTH, LENGTH)
        inside = weights[0]
        assert 0.2 < float((inside == 0.0).float().mean()) < 0.99
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 5, LENGTH))
        assert (weights[~there[:, None, None].expand_as(weights)] == 0.0).all()


def test_weights_are_returned_by_generate_and_by_a_config_that_asks() -> None:
    model = using(bart(), "entmax15")
    more = {"output_attentions": True, "return_dict_in_generate": True, "max_new_tokens": 3, "do_sample": False}
    found = model.generate(tokens(), attention_mask=padded(), **more)
    assert found.cross_attentions[-1][0].shape == (3, 3, 1, LENGTH)
    assert found.encoder_attentions[0].shape == (3, 5, LENGTH, LENGTH)
    asking = bert()
    asking.set_attn_implementation("eager")
    asking.config.output_attentions = True
    assert len(using(asking, "sparsemax")(input_ids=tokens()).attentions) == 2
    assert model(**given("bart", padded())).cross_attentions is None


# --- parameters of a mechanism ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["additive", "sink", "entmax", "general", "shaw"])
def test_prepare_makes_parameters_and_gradients_reach_them(name: str) -> None:
    model = llama()
    model.train()
    model.model.layers[0].eval()
    before = {key for key, _ in model.named_parameters()}
    model.set_attn_implementation(f"attention_lab.{name}")
    made = prepare(model)
    new = {key: value for key, value in model.named_parameters() if key not in before}
    assert made
    assert {id(value) for value in new.values()} == {id(parameter) for parameter in made}
    assert all(f"self_attn.attention_lab.{name}." in key for key in new)
    assert model.training
    assert model.model.layers[1].self_attn.attention_lab.training
    assert not model.model.layers[0].self_attn.training
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made)
    assert {id(parameter) for parameter in prepare(model)} == {id(parameter) for parameter in made}


def test_prepare_reaches_layers_that_a_training_leaves_out() -> None:
    model = bart(encoder_layerdrop=1.0).train()
    model.set_attn_implementation("attention_lab.sink")
    assert len(prepare(model)) == 2 + 2 + 2
    assert model.training


def test_parameters_are_saved_and_loaded() -> None:
    model, other = using(bert(), "additive"), bert()
    other.set_attn_implementation("attention_lab.additive")
    prepare(other)
    expected = logits(model, input_ids=tokens())
    assert (logits(other, input_ids=tokens()) - expected).abs().max() > 0.1
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other, input_ids=tokens()), expected)


def test_parameters_have_the_dtype_of_their_module_and_can_be_trained_whenever_they_were_made() -> None:
    model = bert().bfloat16()
    model.set_attn_implementation("attention_lab.additive")
    with torch.inference_mode():
        model(input_ids=tokens())
    made = prepare(model)
    assert {parameter.dtype for parameter in made} == {torch.bfloat16}
    model(input_ids=tokens()).logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made)


def test_mechanisms_keep_their_parameters_beside_each_other() -> None:
    model = using(bert(), "additive")
    expected = logits(model, input_ids=tokens())
    logits(using(model, "sink"), input_ids=tokens())
    model.set_attn_implementation("attention_lab.additive")
    assert torch.equal(logits(model, input_ids=tokens()), expected)


def test_dropout_is_the_models() -> None:
    query, key, value = vectors()
    module = Module()
    call = ATTENTION["attention_lab.scaled_dot_product"]

    def weights(dropout: float) -> torch.Tensor:
        return call(module, query, key, value, None, dropout=dropout, output_attentions=True)[1]

    assert (weights(0.5) == 0.0).float().mean() > 0.3
    assert (weights(0.0) > 0.0).all()
    module.eval()
    assert (weights(0.5) > 0.0).all()
    module = Module().eval()
    assert (weights(0.5) > 0.0).all()


# --- which rows, and by which names ----------------------------------------------------------------------------------


def test_every_row_is_registered_or_has_a_reason(registered: list[str]) -> None:
    assert set(registered) == {f"attention_lab.{row.name}" for row in CATALOGUE.values() if usable(row) is None}
    # Without a function for masks there are none, and padding and the future are read in silence.
    assert set(registered) <= set(AttentionMaskInterface())
    for row in CATALOGUE.values():
        why = usable(row)
        if why is not None:
            with pytest.raises(InputError, match="cannot be used in a model of transformers: "):
                register(row.name)


def test_registering_leaves_chance_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    register()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("linear", "kernel"),
        ("multi_query", "share keys"),
        ("latent", "share keys"),
        ("differential", "several queries"),
        ("output_gate", "inputs of the layer"),
        ("forgetting", "inputs of the layer"),
        ("selective", "what earlier ones left"),
        ("coverage", "what earlier ones left"),
    ],
)
def test_what_needs_more_than_a_model_gives_is_not_usable(name: str, why: str) -> None:
    assert why in usable(CATALOGUE[name])


def test_what_needs_positions_is_not_for_cross_attention() -> None:
    assert usable(CATALOGUE["local"]) is None
    assert "does not say where" in refused(CATALOGUE["local"], "cross")


def test_where_a_mechanism_is_not_valid_the_model_keeps_its_own_attention() -> None:
    """`causal` is what a decoder is anyway, so all but the encoder stays as it was."""
    model, inputs = bart(), given("bart", padded())
    model.set_attn_implementation("eager")
    expected = model.get_decoder()(tokens(length=11), encoder_hidden_states=torch.ones(3, 5, 30)).last_hidden_state
    model.set_attn_implementation("attention_lab.causal")
    with pytest.warns(UserWarning, match="causal is not for cross-attention: source and target have no common positi"):
        logits(model, **inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.get_decoder()(tokens(length=11), encoder_hidden_states=torch.ones(3, 5, 30)).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_options_are_part_of_the_name() -> None:
    (name,) = register("topk", {"k": 2})
    assert name == "attention_lab.topk(k=2)"
    model = bert()
    model.set_attn_implementation(name)
    seen = model(input_ids=tokens(), output_attentions=True).attentions
    assert {int((weights != 0.0).sum(-1).max()) for weights in seen} == {2}
    (name,) = register("cosine", {"temperature": 2.5})
    model.set_attn_implementation(name)
    assert {float(parameter[0, 0, 0].detach()) for parameter in prepare(model)} == {2.5}


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no mechanism 'sofmax'.*; choose one of scaled_dot_product, dot"):
        register("sofmax")
    with pytest.raises(InputError, match="with one of scaled_dot_product, dot, general"):
        prepare(bert())
    with pytest.raises(ValueError, match=r"attention_lab\.sofmax"):
        bert().set_attn_implementation("attention_lab.sofmax")
