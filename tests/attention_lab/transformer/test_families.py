"""Models of transformers and of PyTorch beside what is made of them here: the same logits, the same greedy text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from searched import best_targets
from torch import nn

from attention_lab.errors import InputError
from attention_lab.transformer import (
    Classifier,
    EncoderDecoder,
    LanguageModel,
    SpanExtractor,
    from_huggingface,
    from_pytorch,
    load,
    save,
)

PAD, END, BOS, VOCABULARY, LONGEST = 1, 2, 3, 37, 23
BATCH, SOURCE, TARGET, NEW = 3, 11, 7, 13
TOKENS: dict[str, Any] = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": BOS, "vocab_size": VOCABULARY}


def made(model: Any) -> Any:
    """With numbers in all parameters, biases, norms and padding too, that are large enough for attention to matter."""
    torch.manual_seed(3)
    tensors = dict(model.named_parameters())
    if hasattr(model, "final_logits_bias"):
        tensors["final_logits_bias"] = model.final_logits_bias
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name.endswith("bias"):
                tensor.copy_(0.1 * torch.randn_like(tensor))
            elif tensor.ndim == 1:  # the gain of a norm
                tensor.copy_(1.0 + 0.3 * torch.randn_like(tensor))
            else:  # positions are larger, or a text says one word for ever
                tensor.copy_((2.0 if "pos" in name else 0.4) * torch.randn_like(tensor))
            if len(tensor) == VOCABULARY:
                tensor[END] *= 0.1  # or a text ends at once
    return model.eval()


def bart_like(kind: str, **changes: Any) -> Any:
    import transformers

    values = {
        "d_model": 12,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_ffn_dim": 17,
        "decoder_ffn_dim": 17,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
        "max_position_embeddings": LONGEST,
        "forced_eos_token_id": None,
        "decoder_start_token_id": PAD,
    }
    return getattr(transformers, f"{kind}Config")(**TOKENS | values | changes)


def marian(**changes: Any) -> Any:
    from transformers import MarianMTModel

    return made(MarianMTModel(bart_like("Marian", activation_function="swish", scale_embedding=True, **changes)))


def bart(**changes: Any) -> Any:
    from transformers import BartForConditionalGeneration

    return made(BartForConditionalGeneration(bart_like("Bart", **{"decoder_start_token_id": END} | changes)))


def t5(**changes: Any) -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 12, "d_kv": 4, "num_heads": 3, "d_ff": 17, "num_layers": 3, "num_decoder_layers": 2}
    buckets = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 9}
    return made(
        T5ForConditionalGeneration(T5Config(**TOKENS | {"decoder_start_token_id": PAD} | sizes | buckets | changes))
    )


def t5_gated() -> Any:
    """v1.1: transformers always ties a new model; a checkpoint with two matrices has two."""
    model = t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))
    return made(model)


def bert(kind: str, **changes: Any) -> Any:
    import transformers

    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 17}
    more = {"max_position_embeddings": LONGEST, "type_vocab_size": 2}
    return made(getattr(transformers, f"BertFor{kind}")(transformers.BertConfig(**TOKENS | sizes | more | changes)))


def gpt2(**changes: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 17, "n_positions": LONGEST}
    return made(GPT2LMHeadModel(GPT2Config(**TOKENS | sizes | changes)))


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 17}
    more = {"num_key_value_heads": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}
    return made(LlamaForCausalLM(LlamaConfig(**TOKENS | sizes | more | changes)))


def tokens(length: int, seed: int, *, padded: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(4, VOCABULARY, (BATCH, length), generator=generator)
    if padded:
        drawn[1, length - 4 :] = PAD
        drawn[2, length - 1 :] = PAD
    return drawn


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Models that write are compared in float64: how float32 rounds differs from CPU to CPU, and with T5, which sums
    scores without a scale, by more than the bound."""
    assert theirs.std() > 0.1  # logits that are all alike would agree with anything
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


WRITERS: dict[str, Callable[[], Any]] = {
    "marian": marian,
    "bart": bart,
    "bart, scaled": lambda: bart(scale_embedding=True, activation_function="relu"),
    "t5": t5,
    "t5, v1.1": t5_gated,
}
SPEAKERS: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2,
    "gpt2, four times as wide inside": lambda: gpt2(n_inner=None),
    "llama": llama,
    "llama, tied, with biases": lambda: llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
}


@pytest.mark.parametrize("family", WRITERS)
@torch.no_grad()
def test_an_encoder_decoder_says_what_theirs_does(family: str) -> None:
    theirs = WRITERS[family]().double()
    ours = from_huggingface(theirs)
    assert isinstance(ours, EncoderDecoder)
    source, target = tokens(SOURCE, 1), tokens(TARGET, 2, padded=False)
    mask = source != PAD
    expected = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
    close(ours.project(ours(source, mask, target)[0]), expected)
    # Padding is never written here.
    options = {"do_sample": False, "num_beams": 1, "max_new_tokens": NEW, "suppress_tokens": [PAD]}
    written = theirs.generate(source, attention_mask=mask.long(), **options)
    greedy, _ = best_targets(ours, source, mask, beams=1, length_penalty=1.0, max_tokens=NEW + 1)
    assert greedy == [until_end(row) for row in written[:, 1:].tolist()]
    assert len({token for row in greedy for token in row}) > 2


def until_end(row: list[int]) -> list[int]:
    return row[: row.index(END)] if END in row else row


@pytest.mark.parametrize("family", SPEAKERS)
@torch.no_grad()
def test_a_language_model_says_what_theirs_does(family: str) -> None:
    theirs = SPEAKERS[family]().double()
    ours = from_huggingface(theirs)
    assert isinstance(ours, LanguageModel)
    text = tokens(SOURCE, 1)
    there = text != PAD
    expected = theirs(input_ids=text, attention_mask=there.long()).logits
    close(ours.project(ours(text)[0])[there], expected[there])
    prompt = tokens(TARGET, 2, padded=False)
    written = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=NEW)
    caches, greedy = ours.caches(), prompt
    for position in range(written.shape[1] - 1):
        logits = ours.step(greedy[:, position : position + 1], caches)
        if position >= TARGET - 1:
            greedy = torch.cat((greedy, logits.argmax(-1, keepdim=True)), 1)
    assert [until_end(row) for row in greedy[:, TARGET:].tolist()] == [
        until_end(row) for row in written[:, TARGET:].tolist()
    ]
    assert len(greedy[:, TARGET:].unique()) > 2


@pytest.mark.parametrize("segmented", [False, True])
@torch.no_grad()
def test_a_classifier_says_what_theirs_does(segmented: bool) -> None:
    theirs = bert("SequenceClassification", num_labels=5)
    ours = from_huggingface(theirs)
    assert isinstance(ours, Classifier)
    source = tokens(SOURCE, 1)
    mask = source != PAD
    segments = (torch.arange(SOURCE) > 4).long().expand(BATCH, -1) if segmented else None
    expected = theirs(input_ids=source, attention_mask=mask.long(), token_type_ids=segments).logits
    close(ours(source, mask, segments=segments)[0], expected)
    assert ours.config.labels == tuple(f"LABEL_{index}" for index in range(5))


@torch.no_grad()
def test_a_span_extractor_says_what_theirs_does() -> None:
    theirs = bert("QuestionAnswering")
    ours = from_huggingface(theirs)
    assert isinstance(ours, SpanExtractor)
    source = tokens(SOURCE, 1)
    mask = source != PAD
    segments = (torch.arange(SOURCE) > 4).long().expand(BATCH, -1)
    expected = theirs(input_ids=source, attention_mask=mask.long(), token_type_ids=segments)
    logits, _ = ours(source, mask, segments=segments)
    close(logits[:, 0][mask], expected.start_logits[mask])
    close(logits[:, 1][mask], expected.end_logits[mask])
    assert (logits.transpose(1, 2)[~mask] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("kind", [marian, t5_gated, llama, lambda: bert("QuestionAnswering")])
def test_saved_and_loaded_to_the_bit(kind: Callable[[], Any], tmp_path: Any) -> None:
    ours = from_huggingface(kind())
    save(ours, tmp_path)
    again = load(tmp_path)
    assert again.config == ours.config
    for (name, left), (_, right) in zip(ours.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(left, right), name


def test_weights_are_copies_in_their_type_and_can_be_trained() -> None:
    theirs = marian().to(torch.bfloat16)
    ours = from_huggingface(theirs)
    before = theirs.model.shared.weight.clone()
    for parameter in ours.parameters():
        assert parameter.dtype == torch.bfloat16
        assert parameter.requires_grad
        parameter.data.zero_()
    assert torch.equal(theirs.model.shared.weight, before)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
@torch.no_grad()
def test_the_transformer_of_pytorch(norm_first: bool, bias: bool) -> None:
    theirs = made(nn.Transformer(12, 3, 2, 3, 17, activation="gelu", norm_first=norm_first, bias=bias))
    encoder, decoder = from_pytorch(theirs)
    mask = tokens(SOURCE, 1) != PAD
    source, target = torch.randn(SOURCE, BATCH, 12), torch.randn(TARGET, BATCH, 12)
    expected = theirs(
        source,
        target,
        tgt_mask=torch.ones(TARGET, TARGET, dtype=torch.bool).triu(1),
        src_key_padding_mask=~mask,
        memory_key_padding_mask=~mask,
    )
    memory, _ = encoder(source.transpose(0, 1), mask)
    close(decoder(target.transpose(0, 1), memory, mask)[0].transpose(0, 1), expected)


class Extended(nn.Transformer):
    """With a weight more than its parent."""

    def __init__(self) -> None:
        super().__init__(12, 3, 1, 1, 17)
        self.more = nn.Parameter(torch.ones(2))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(
    ("convert", "kind", "sentence"),
    [
        (from_huggingface, lambda: nn.Linear(2, 3), "there is no Linear here; known are Bart.*, T5ForConditional"),
        (from_huggingface, lambda: t5(d_kv=5), "its 3 heads of width 5 are not 12 wide together"),
        (from_huggingface, lambda: llama(head_dim=6), "its 6 heads are 6 wide, but heads here are 24 / 6"),
        (
            from_huggingface,
            lambda: llama(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}),
            r"its rotary positions are scaled \(linear\)",
        ),
        (from_huggingface, lambda: gpt2(scale_attn_by_inverse_layer_idx=True), "scaled differently in each layer"),
        (from_huggingface, lambda: gpt2(scale_attn_weights=False), "its scores are not scaled"),
        (from_huggingface, lambda: gpt2(add_cross_attention=True), "it has cross-attention"),
        (from_huggingface, lambda: gpt2(activation_function="mish"), "its activation is mish; known are relu, gelu"),
        (from_huggingface, lambda: bart(decoder_ffn_dim=19), "encoder_ffn_dim is 17, decoder_ffn_dim is 19"),
        (from_huggingface, lambda: bert("SequenceClassification", is_decoder=True), "it is a decoder"),
        (from_huggingface, lambda: bert("QuestionAnswering", num_labels=3), "it has 3 scores per position"),
        (
            from_huggingface,
            lambda: marian(share_encoder_decoder_embeddings=False, decoder_vocab_size=41),
            "source and target have separate vocabularies",
        ),
        (from_pytorch, Extended, "Extended has weights that have no place here: more"),
        (from_pytorch, lambda: nn.Transformer(12, 3, 1, 1, 17, activation=torch.tanh), "its activation is .*tanh"),
        (from_pytorch, lambda: nn.Transformer(12, 3, custom_encoder=nn.Identity()), "of its own kind"),
    ],
)
def test_what_cannot_be_said_here_is_refused(convert: Callable, kind: Callable, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        convert(kind())


def test_no_modeling_code_is_imported() -> None:
    code = "import sys, attention_lab.transformer; print([m for m in sys.modules if m.startswith('transformers')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
