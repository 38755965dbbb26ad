"""The Transformer against PyTorch's, and against itself: padding, step by step, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from oracles import copy_attention
from torch import nn

from attention_lab.attention import CATALOGUE, PLACES
from attention_lab.errors import InputError
from attention_lab.transformer import (
    Classifier,
    Config,
    EncoderDecoder,
    LanguageModel,
    SpanExtractor,
    build,
    load,
    save,
)

PAD, START, END, VOCABULARY = 0, 2, 3, 29


def config(**changes: Any) -> Config:
    mechanism = changes.pop("mechanism", "scaled_dot_product")
    values: dict[str, Any] = {
        "architecture": "encoder_decoder",
        "task": "translation",
        "vocabulary": VOCABULARY,
        "labels": (),
        "pad": PAD,
        "start": START,
        "end": END,
        "positions": 32,
        "layers": 2,
        "decoder_layers": 2,
        "width": 12,
        "heads": 3,
        "feedforward": 17,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "norm": "pre",
        "position": "sinusoidal",
        "mechanisms": {
            place: {"name": mechanism if place in CATALOGUE[mechanism].places else "scaled_dot_product"}
            for place in PLACES
        },
    }
    return Config(**(values | changes))


def model(**changes: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    built = build(config(**changes)).double().eval()
    assert isinstance(built, EncoderDecoder)
    return built


def sentences() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(5, VOCABULARY, (2, 7), generator=generator)
    source[1, 4:] = PAD
    target = torch.randint(5, VOCABULARY, (2, 5), generator=generator)
    target[:, 0] = START
    return source, source != PAD, target


def copy_layer(ours: nn.Module, theirs: nn.Module, *, decoder: bool) -> None:
    pairs = [(ours.itself if decoder else ours.attention, theirs.self_attn)]
    pairs += [(ours.cross, theirs.multihead_attn)] if decoder else []
    for layer, of_torch in pairs:
        nn.init.normal_(of_torch.in_proj_bias, std=0.1)
        copy_attention(layer, of_torch)
    ours.feedforward.inner.load_state_dict(theirs.linear1.state_dict())
    ours.feedforward.outer.load_state_dict(theirs.linear2.state_dict())
    arounds = ("itself", "cross", "feedforward") if decoder else ("attention", "feedforward")
    for number, name in enumerate(arounds, start=1):
        norm = getattr(theirs, f"norm{number}")
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        getattr(ours, f"around_{name}").norm.load_state_dict(norm.state_dict())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_is_the_transformer_of_pytorch(norm: Literal["pre", "post"]) -> None:
    ours = model(norm=norm)
    theirs = nn.Transformer(12, 3, 2, 2, 17, dropout=0.0, norm_first=norm == "pre", batch_first=True).double().eval()
    for our_block, their_block in zip(ours.encoder.blocks, theirs.encoder.layers, strict=True):
        copy_layer(our_block, their_block, decoder=False)
    for our_block, their_block in zip(ours.decoder.blocks, theirs.decoder.layers, strict=True):
        copy_layer(our_block, their_block, decoder=True)
    if norm == "pre":
        ours.encoder.norm.load_state_dict(theirs.encoder.norm.state_dict())
        ours.decoder.norm.load_state_dict(theirs.decoder.norm.state_dict())
    else:  # the paper has no norm on top
        theirs.encoder.norm = theirs.decoder.norm = None
    source, mask, target = sentences()
    expected = theirs(
        ours.embedding(source),
        ours.embedding(target),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64),
        src_key_padding_mask=torch.zeros(2, 7, dtype=torch.float64).masked_fill(~mask, -torch.inf),
        memory_key_padding_mask=torch.zeros(2, 7, dtype=torch.float64).masked_fill(~mask, -torch.inf),
    )
    torch.testing.assert_close(ours(source, mask, target)[0], expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("mechanism", ["scaled_dot_product", "additive", "local"])
@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("position", ["none", "sinusoidal", "learned", "rotary", "sinusoidal_rotary"])
def test_padding_changes_nothing(mechanism: str, norm: str, position: str) -> None:
    transformer = model(mechanism=mechanism, norm=norm, position=position)
    source, mask, target = sentences()
    hidden, _ = transformer(source, mask, target)
    alone, _ = transformer(source[1:, :4], mask[1:, :4], target[1:, :3])
    torch.testing.assert_close(hidden[1:, :3], alone)


@pytest.mark.parametrize("mechanism", ["scaled_dot_product", "additive", "local"])
@pytest.mark.parametrize("position", ["sinusoidal", "learned", "rotary", "sinusoidal_rotary"])
def test_step_by_step_equals_the_full_pass(mechanism: str, position: str) -> None:
    transformer = model(mechanism=mechanism, position=position)
    source, mask, target = sentences()
    expected = transformer.project(transformer(source, mask, target)[0])
    (memory, _), caches = transformer.read(source, mask), transformer.caches()
    for step in range(target.shape[1]):
        logits = transformer.step(target[:, step : step + 1], memory, caches)
        torch.testing.assert_close(logits, expected[:, step])


@pytest.mark.parametrize("mechanism", CATALOGUE)
def test_every_mechanism_learns_and_decodes_in_a_transformer(mechanism: str) -> None:
    """Where a mechanism is not valid, scaled dot-product is. Four sentences can be learned by heart."""
    transformer = model(mechanism=mechanism, position="rotary", heads=4, width=24, layers=1, decoder_layers=1).train()
    generator = torch.Generator().manual_seed(2)
    source = torch.randint(5, VOCABULARY, (4, 9), generator=generator)
    target = torch.randint(5, VOCABULARY, (4, 7), generator=generator)
    target[:, 0] = START
    mask = torch.ones_like(source, dtype=torch.bool)
    optimizer = torch.optim.AdamW([p for p in transformer.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(30):
        hidden, _ = transformer(source, mask, target[:, :-1])
        loss = nn.functional.cross_entropy(transformer.project(hidden).flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    transformer.eval()
    expected = transformer.project(transformer(source, mask, target)[0])
    (memory, _), caches = transformer.read(source, mask), transformer.caches()
    for step in range(target.shape[1]):
        torch.testing.assert_close(transformer.step(target[:, step : step + 1], memory, caches), expected[:, step])


def test_weights_have_their_shapes_and_asking_changes_nothing() -> None:
    transformer = model()
    source, mask, target = sentences()
    plain, nothing = transformer(source, mask, target)
    hidden, seen = transformer(source, mask, target, weights=True)
    torch.testing.assert_close(hidden, plain)
    assert nothing.cross == []
    assert [tuple(w.shape) for w in seen.encoder_self] == [(2, 3, 7, 7)] * 2
    assert [tuple(w.shape) for w in seen.decoder_self] == [(2, 3, 5, 5)] * 2
    assert [tuple(w.shape) for w in seen.cross] == [(2, 3, 5, 7)] * 2
    assert all((w.triu(1) == 0).all() for w in seen.decoder_self)
    assert all((w[1, :, :, 4:] == 0).all() for w in seen.cross)


def test_each_place_has_its_own_mechanism() -> None:
    transformer = model(
        mechanisms={
            "encoder_self": {"name": "uniform"},
            "decoder_self": {"name": "additive"},
            "cross": {"name": "scaled_dot_product"},
        }
    )
    source, mask, target = sentences()
    _, seen = transformer(source, mask, target, weights=True)
    torch.testing.assert_close(seen.encoder_self[0][0], torch.full((3, 7, 7), 1 / 7, dtype=torch.float64))
    assert hasattr(transformer.decoder.blocks[0].itself.core.score, "vector")
    assert transformer.config.mechanism_name.startswith("encoder_self: uniform, decoder_self: additive")


def test_a_classifier_reads_the_first_position() -> None:
    torch.manual_seed(0)
    classifier = build(config(architecture="classifier", labels=("bad", "good", "mixed"))).double().eval()
    assert isinstance(classifier, Classifier)
    source, mask, _ = sentences()
    logits, seen = classifier(source, mask, weights=True)
    assert logits.shape == (2, 3)
    assert len(seen.encoder_self) == 2
    torch.testing.assert_close(classifier(source[1:, :4], mask[1:, :4])[0], logits[1:])


def language_model(**changes: Any) -> LanguageModel:
    torch.manual_seed(0)
    built = build(config(architecture="decoder", **changes)).double().eval()
    assert isinstance(built, LanguageModel)
    return built


@pytest.mark.parametrize("mechanism", ["scaled_dot_product", "t5", "retention"])
@pytest.mark.parametrize("position", ["none", "sinusoidal", "learned", "rotary", "sinusoidal_rotary"])
def test_a_language_model_sees_the_past_alone_and_steps_through_it(mechanism: str, position: str) -> None:
    speaker = language_model(mechanism=mechanism, position=position)
    _, _, tokens = sentences()
    hidden, _ = speaker(tokens)
    torch.testing.assert_close(speaker(tokens[:, :3])[0], hidden[:, :3])
    expected, caches = speaker.project(hidden), speaker.caches()
    for step in range(tokens.shape[1]):
        torch.testing.assert_close(speaker.step(tokens[:, step : step + 1], caches), expected[:, step])


def test_a_language_model_is_an_encoder_of_pytorch_that_looks_back() -> None:
    ours = language_model(activation="gelu")
    layer = nn.TransformerEncoderLayer(12, 3, 17, 0.0, "gelu", norm_first=True, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12), enable_nested_tensor=False).double().eval()
    for our_block, their_block in zip(ours.decoder.blocks, theirs.layers, strict=True):
        nn.init.normal_(their_block.self_attn.in_proj_bias, std=0.1)
        copy_attention(our_block.itself, their_block.self_attn)
        our_block.feedforward.inner.load_state_dict(their_block.linear1.state_dict())
        our_block.feedforward.outer.load_state_dict(their_block.linear2.state_dict())
    _, _, tokens = sentences()
    past = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    hidden, seen = ours(tokens, weights=True)
    torch.testing.assert_close(hidden, theirs(ours.embedding(tokens), mask=past), atol=1e-11, rtol=0)
    assert [tuple(w.shape) for w in seen.decoder_self] == [(2, 3, 5, 5)] * 2
    assert seen.encoder_self == seen.cross == []


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("architecture", "own"), [("encoder_decoder", None), ("encoder_decoder", 31), ("decoder", None)]
)
def test_the_loss_is_that_of_the_projection(
    architecture: str, own: int | None, tied: bool, scale: float, bias: bool
) -> None:
    torch.manual_seed(0)
    options = {"tied": tied, "output_scale": scale, "output_bias": bias, "target_vocabulary": own}
    writer = build(config(architecture=architecture, **options)).double()
    assert isinstance(writer, EncoderDecoder | LanguageModel)
    if writer.output_bias is not None:
        nn.init.normal_(writer.output_bias)
    hidden, truth = torch.randn(5, 12, dtype=torch.float64), torch.randint(own or VOCABULARY, (5,))
    vectors = writer.target_embedding if own else writer.embedding
    weight = vectors.tokens.weight if tied else writer.output
    assert tied or not torch.equal(weight, vectors.tokens.weight)
    assert weight.shape == (own or VOCABULARY, 12)
    logits = (scale * hidden) @ weight.T + (writer.output_bias if bias else 0.0)
    torch.testing.assert_close(writer.project(hidden), logits)
    smoothed, nll, _ = writer.cross_entropy(hidden, truth, 0.1)
    torch.testing.assert_close(nll, nn.functional.cross_entropy(logits, truth, reduction="sum"))
    expected = nn.functional.cross_entropy(logits, truth, reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(smoothed, expected)
    wanted = [weight, writer.output_bias] if bias else [weight]
    for left, right in zip(torch.autograd.grad(smoothed, wanted), torch.autograd.grad(expected, wanted), strict=True):
        torch.testing.assert_close(left, right)


def test_a_target_with_positions_of_its_own() -> None:
    transformer = model(target_embedding=True, position="learned", embedding_norm=True)
    assert transformer.target_embedding is not None
    source, mask, target = sentences()
    memory, _ = transformer.read(source, mask)
    vectors = transformer.embedding.tokens(target) * 12**0.5 + transformer.target_embedding.learned.weight[:5]
    expected, _, _ = transformer.decoder(transformer.target_embedding.norm(vectors), memory.vectors, mask)
    torch.testing.assert_close(transformer(source, mask, target)[0], expected)
    caches = transformer.caches()
    for step in range(5):
        logits = transformer.step(target[:, step : step + 1], memory, caches)
        torch.testing.assert_close(logits, transformer.project(expected[:, step]))


@pytest.mark.parametrize("position", ["none", "sinusoidal", "learned", "rotary", "sinusoidal_rotary"])
def test_a_target_with_a_vocabulary_of_its_own(position: str) -> None:
    transformer = model(target_vocabulary=37, position=position)
    own = transformer.target_embedding
    assert own is not None
    assert (transformer.embedding.tokens.num_embeddings, own.tokens.num_embeddings) == (VOCABULARY, 37)
    assert (own.tokens.weight[PAD] == 0.0).all()
    source, mask, target = sentences()
    target[0, 3] = 36  # a token that the source has not
    memory, _ = transformer.read(source, mask)
    expected, _, _ = transformer.decoder(own(target), memory.vectors, mask)
    hidden, _ = transformer(source, mask, target)
    torch.testing.assert_close(hidden, expected)
    assert transformer.project(hidden).shape == (2, 5, 37)
    caches = transformer.caches()
    for step in range(5):
        logits = transformer.step(target[:, step : step + 1], memory, caches)
        torch.testing.assert_close(logits, transformer.project(expected[:, step]))
    transformer.project(hidden).sum().backward()
    assert transformer.embedding.tokens.weight.grad is not None
    assert own.tokens.weight.grad is not None


def test_folders_from_before_there_were_two_vocabularies_still_load(tmp_path: Path) -> None:
    save(model(), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["transformer"].pop("target_vocabulary") is None
    (tmp_path / "config.json").write_text(json.dumps(written), encoding="utf-8")
    assert load(tmp_path).config == config()


def test_a_hidden_layer_before_the_class() -> None:
    torch.manual_seed(0)
    classifier = build(config(architecture="classifier", labels=("bad", "good", "mixed"), pooled=True)).double().eval()
    assert isinstance(classifier, Classifier)
    assert classifier.pooler is not None
    source, mask, _ = sentences()
    hidden, _ = classifier.encoder(classifier.embedding(source), mask)
    expected = torch.tanh(hidden[:, 0] @ classifier.pooler.weight.T) @ classifier.classes.weight.T
    torch.testing.assert_close(classifier(source, mask)[0], expected)


def test_a_class_is_read_from_the_mean_of_what_is_there() -> None:
    torch.manual_seed(0)
    classifier = build(config(architecture="classifier", labels=("bad", "good"), pooling="mean")).double().eval()
    assert isinstance(classifier, Classifier)
    source, mask, _ = sentences()
    logits, _ = classifier(source, mask)
    hidden, _ = classifier.encoder(classifier.embedding(source), mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        mean = hidden[row, classifier.config.read_from(length)].mean(0)
        torch.testing.assert_close(logits[row], classifier.classes(mean))
    torch.testing.assert_close(logits[1:], classifier(source[1:, :4], mask[1:, :4])[0])


def test_a_span_extractor_scores_what_is_there() -> None:
    torch.manual_seed(0)
    extractor = build(config(architecture="spans")).double().eval()
    assert isinstance(extractor, SpanExtractor)
    source, mask, _ = sentences()
    logits, seen = extractor(source, mask, weights=True)
    assert logits.shape == (2, 2, 7)
    assert len(seen.encoder_self) == 2
    assert (logits[1, :, 4:] == torch.finfo(torch.float64).min).all()
    torch.testing.assert_close(logits[1:, :, :4], extractor(source[1:, :4], mask[1:, :4])[0])
    assert not torch.equal(logits[:, 0], logits[:, 1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor([2, 6, 1, 3]), reduction="none")
    assert loss.isfinite().all()


@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("final", [None, True, False])
def test_a_norm_on_top(norm: str, final: bool | None) -> None:
    encoder = model(norm=norm, final_norm=final).encoder
    assert isinstance(encoder.norm, nn.LayerNorm) == (norm != "post" if final is None else final)


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder", "classifier", "spans"])
def test_gradient_checkpointing_changes_no_gradient(architecture: str) -> None:
    """With dropout, which has to be the same when a block is computed again; and each block is computed again."""
    source, mask, target = sentences()
    options = config(architecture=architecture, labels=("a", "b"), dropout=0.2, attention_dropout=0.3)
    found, calls = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        built = build(options, gradient_checkpointing=checkpointing).double().train()
        count: list[int] = []
        for name, module in built.named_modules():
            if name.endswith("feedforward.inner"):
                module.register_forward_hook(lambda *_, count=count: count.append(1))
        inputs = {"encoder_decoder": (source, mask, target), "decoder": (target,)}.get(architecture, (source, mask))
        torch.manual_seed(1)
        hidden, _ = built(*inputs)
        hidden.masked_fill(hidden < -1e9, 0.0).square().sum().backward()
        found.append({name: p.grad for name, p in built.named_parameters()})
        calls.append(len(count))
    assert calls[1] == 2 * calls[0]
    for name, gradient in found[0].items():
        if gradient is not None:
            assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "encoder_decoder"},
        {"architecture": "classifier", "labels": ("a", "b"), "pooled": True, "segments": 2},
        {"architecture": "decoder", "normalisation": "rms", "gated": True, "norm": "sandwich"},
        {"architecture": "spans", "embedding_norm": True},
        {"architecture": "encoder_decoder", "tied": False, "output_bias": True, "target_embedding": True},
        {"architecture": "encoder_decoder", "copy": True},
    ],
)
def test_saved_and_loaded_to_the_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    built = build(config(**{"position": "learned"} | changes))
    save(built, tmp_path / "one")
    again = load(tmp_path / "one")
    assert type(again) is type(built)
    assert again.config == built.config
    assert all(torch.equal(left, right) for left, right in zip(built.parameters(), again.parameters(), strict=True))
    save(again, tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b'{"transformer": {"task": "translation"}}'),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1"),
    ],
)
def test_a_damaged_model_is_a_users_mistake(name: str, content: bytes | None, tmp_path: Path) -> None:
    save(build(config()), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"holds a model that cannot be read \(.*\); copy all of its files again or"):
        load(tmp_path)


def test_the_files_of_two_models_do_not_go_together(tmp_path: Path) -> None:
    save(build(config()), tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    save(build(config(layers=3)), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"holds a model that cannot be read \(Error\(s\) in loading state_dict"):
        load(tmp_path)


def test_a_folder_without_a_model_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained model; run `dvc repro train` first"):
        load(tmp_path)
    save(build(config()), tmp_path)
    with pytest.raises(InputError, match="holds a model for translation, but task is sentiment; run `dvc repro train`"):
        load(tmp_path, task="sentiment")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(InputError, match="holds a model that was not trained here; name what"):
        load(tmp_path)
