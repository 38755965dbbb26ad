"""Four models from the same blocks: two that write, encoder-decoder and language model, and two that read, an encoder
with a head for classes and one with a head for the start and end of an answer.

Shapes: B batch, Ls source positions, Lt target positions, W width, V vocabulary, C classes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.errors import InputError
from attention_lab.records import replaced, write_bytes
from attention_lab.transformer.blocks import BlockCache, Embedding
from attention_lab.transformer.config import Architecture, Config
from attention_lab.transformer.loss import projected_cross_entropy
from attention_lab.transformer.pointer import Pointed, Pointer, States, mixed_cross_entropy
from attention_lab.transformer.stacks import Decoder, Encoder, Stack
from attention_lab.vocabulary import SPECIALS


@dataclass
class Seen:
    """Attention weights of one forward pass, one tensor per layer: (B, H, Lq, Lk)."""

    encoder_self: list[Tensor] = field(default_factory=list)
    decoder_self: list[Tensor] = field(default_factory=list)
    cross: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Memory:
    """Encoded sources: vectors (B, Ls, W), mask (B, Ls), and their tokens (B, Ls)."""

    vectors: Tensor
    mask: Tensor
    tokens: Tensor

    def select(self, rows: Tensor) -> Memory:
        """Return these rows of the batch, in this order."""
        return Memory(self.vectors[rows], self.mask[rows], self.tokens[rows])


class Writer(nn.Module):
    """Base of models that write tokens: an embedding and the projection to the vocabulary, which uses the embedding's
    weights (Press & Wolf 2017, arXiv 1608.05859) or its own, initialised in the same way.

    `project` and `cross_entropy` take its states: hidden vectors, or `Pointed` ones if the model copies.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        if not config.tied:
            self.output = nn.Parameter(torch.empty(config.written, config.width))
            nn.init.normal_(self.output, std=1.0 / math.sqrt(config.width))
        self.output_bias = nn.Parameter(torch.zeros(config.written)) if config.output_bias else None

    def project(self, states: States) -> Tensor:
        """states (…, W) → logits (…, V); log-probabilities for pointed states"""
        if isinstance(states, Pointed):
            return states.mixed(self.project(states.hidden))
        return F.linear(self._scaled(states), self._output(), self.output_bias)

    def cross_entropy(self, states: States, truth: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
        """`project` and the loss in one: states (N, W), truth (N,) → as `projected_cross_entropy` returns"""
        if isinstance(states, Pointed):
            return mixed_cross_entropy(states, truth, smoothing, self.project)
        return projected_cross_entropy(self._scaled(states), self._output(), truth, smoothing, self.output_bias)

    def caches(self) -> list[BlockCache]:
        """Empty caches, one per decoder block, for step-by-step decoding."""
        return [BlockCache() for _ in range(self.config.decoder_layers)]

    def _scaled(self, hidden: Tensor) -> Tensor:
        return hidden if self.config.output_scale == 1.0 else hidden * self.config.output_scale

    def _written(self) -> nn.Embedding:
        """The embedding of the tokens that it writes."""
        return self.embedding.tokens

    def _output(self) -> Tensor:
        return self._written().weight if self.config.tied else self.output


class EncoderDecoder(Writer):
    """The paper's Transformer, with one embedding shared by source and target, or one for each vocabulary.

    Raises:
        InputError: it should copy, but its vocabularies or its cross-attention do not allow that; see `Pointer`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        own = config.target_embedding or config.target_vocabulary is not None
        self.target_embedding = Embedding(config, config.target_vocabulary or 0) if own else None
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.pointer = Pointer(config) if config.copies else None

    def forward(
        self, source: Tensor, source_mask: Tensor, target: Tensor, *, weights: bool = False
    ) -> tuple[States, Seen]:
        """source (B, Ls), source_mask (B, Ls), target (B, Lt) → states (B, Lt, W), weights if requested"""
        memory, encoder_self = self.read(source, source_mask, weights=weights)
        states, decoder_self, cross = self.decode(target, memory, weights=weights)
        return states, Seen(encoder_self, decoder_self, cross)

    def read(self, source: Tensor, source_mask: Tensor, *, weights: bool = False) -> tuple[Memory, list[Tensor]]:
        """source (B, Ls), source_mask (B, Ls) → memory, weights if requested"""
        vectors, seen = self.encoder(self.embedding(source), source_mask, weights=weights)
        return Memory(vectors, source_mask, source), seen

    def decode(
        self, target: Tensor, memory: Memory, *, caches: list[BlockCache] | None = None, weights: bool = False
    ) -> tuple[States, list[Tensor], list[Tensor]]:
        """target (B, Lt) → states (B, Lt, W), self and cross weights if requested; with caches, which get extended, the
        target consists of the new tokens only."""
        vectors = self.embed_target(target, start=caches[0].itself.length if caches else 0)
        hidden, own, cross = self.decoder(vectors, memory.vectors, memory.mask, caches=caches, weights=weights)
        states = hidden if self.pointer is None else self.pointer(hidden, cross[-1], memory.tokens)
        return states, own, cross if weights else []

    def step(self, token: Tensor, memory: Memory, caches: list[BlockCache]) -> Tensor:
        """One step of decoding: the newest tokens (B, 1) → logits for the next (B, V). Extends the caches."""
        states, _, _ = self.decode(token, memory, caches=caches)
        return self.project(states[:, -1])

    def embed_target(self, target: Tensor, start: int = 0) -> Tensor:
        """target (B, Lt), the first of them at position `start` → (B, Lt, W)"""
        own = self.embedding if self.target_embedding is None else self.target_embedding
        return own(target, start=start, shared=self._written())

    def _written(self) -> nn.Embedding:
        own = self.target_embedding
        return super()._written() if own is None or self.config.target_vocabulary is None else own.tokens


class LanguageModel(Writer):
    """A decoder without a source, which predicts each token from those before it (Radford et al. 2018, Improving
    Language Understanding by Generative Pre-Training, section 3.1)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.decoder = Decoder(config)

    def forward(self, tokens: Tensor, *, weights: bool = False) -> tuple[Tensor, Seen]:
        """tokens (B, L) → hidden (B, L, W), weights if requested. Padding must be at the end, where no earlier position
        attends to it; its own outputs are meaningless."""
        hidden, decoder_self, _ = self.decoder(self.embedding(tokens), weights=weights)
        return hidden, Seen(decoder_self=decoder_self)

    def step(self, token: Tensor, caches: list[BlockCache]) -> Tensor:
        """One step of decoding: the newest tokens (B, 1) → logits for the next (B, V). Extends the caches."""
        vectors = self.embedding(token, start=caches[0].itself.length)
        hidden, _, _ = self.decoder(vectors, caches=caches)
        return self.project(hidden[:, -1])


class Reader(nn.Module):
    """Base of models that read a text: an embedding and an encoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.encoder = Encoder(config)

    def read(
        self, source: Tensor, source_mask: Tensor, *, segments: Tensor | None, weights: bool
    ) -> tuple[Tensor, Seen]:
        """source, source_mask and segments (B, Ls) → hidden (B, Ls, W), weights if requested"""
        vectors = self.embedding(source, segments=segments)
        same = same_words(source) if self.config.match else None
        hidden, encoder_self = self.encoder(vectors, source_mask, same=same, weights=weights)
        return hidden, Seen(encoder_self=encoder_self)


class Classifier(Reader):
    """An encoder whose class is read from the mean of all positions (Iyyer et al. 2015, "Deep unordered composition
    rivals syntactic methods for text classification", section 2), or from the first, which represents the whole text
    (Devlin et al. 2019, arXiv 1810.04805, section 3); if configured, through a hidden layer with tanh (their code)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.pooler = _head(config.width, config.width) if config.pooled else None
        self.classes = _head(config.width, len(config.labels))

    def forward(
        self, source: Tensor, source_mask: Tensor, *, segments: Tensor | None = None, weights: bool = False
    ) -> tuple[Tensor, Seen]:
        """source (B, Ls), source_mask (B, Ls) → logits (B, C), weights if requested

        Args:
            segments: (B, Ls), the segment of each token, if the model has segments; None: all in the first.
        """
        hidden, seen = self.read(source, source_mask, segments=segments, weights=weights)
        text = hidden[:, 0] if self.config.pooling == "first" else _mean(hidden, source_mask)
        return self.classes(text if self.pooler is None else torch.tanh(self.pooler(text))), seen


class SpanExtractor(Reader):
    """An encoder that gives each position one score for being the first of an answer and one for being its last (Devlin
    et al. 2019, arXiv 1810.04805, section 4.2)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ends = _head(config.width, 2)

    def forward(
        self, source: Tensor, source_mask: Tensor, *, segments: Tensor | None = None, weights: bool = False
    ) -> tuple[Tensor, Seen]:
        """source (B, Ls), source_mask (B, Ls) → logits (B, 2, Ls) of start and end, weights if requested

        The logits of padding are the lowest finite number, so that a cross-entropy stays finite whatever the labels.

        Args:
            segments: (B, Ls), the segment of each token, if the model has segments; None: all in the first. A model
                with `match` ignores them and derives its own from the tokens.
        """
        if self.config.match:
            segments = segments_of(source, self.config)
        hidden, seen = self.read(source, source_mask, segments=segments, weights=weights)
        logits = self.ends(hidden).transpose(1, 2)
        return logits.masked_fill(~source_mask.unsqueeze(1), torch.finfo(logits.dtype).min), seen


def segments_of(source: Tensor, config: Config) -> Tensor:
    """Segment of each token of source (B, L): 0 for <s>, the question and its </s>, 1 for the text that follows; with
    `match`, 2 for tokens of the text that also occur in the question (Chen et al. 2017, arXiv 1704.00051, section 3.2:
    exact match)."""
    is_end = source == config.end
    behind = (is_end.long().cumsum(-1) - is_end.long()) > 0
    if not config.match:
        return behind.long()
    asked = (~behind & ~is_end)[:, None, :]
    same = ((source[:, :, None] == source[:, None, :]) & asked).any(-1)
    return behind.long() + (behind & same).long()


def same_words(source: Tensor) -> Tensor:
    """Pairs of different positions (B, L, L) that hold the same token, special tokens excepted; source (B, L)."""
    word = source >= len(SPECIALS)
    same = (source[:, :, None] == source[:, None, :]) & word[:, :, None]
    return same & ~torch.eye(source.shape[1], dtype=torch.bool, device=source.device)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """hidden (B, L, W), mask (B, L) → (B, W), the mean over positions that are not padding"""
    return hidden.masked_fill(~mask.unsqueeze(-1), 0.0).sum(1) / mask.sum(1, keepdim=True)


def _head(width: int, to: int) -> nn.Linear:
    linear = nn.Linear(width, to)
    begin(linear)
    return linear


def begin(head: nn.Linear) -> None:
    """Initialise the weights of a head."""
    nn.init.xavier_uniform_(head.weight)
    nn.init.zeros_(head.bias)


Model = EncoderDecoder | LanguageModel | Classifier | SpanExtractor
MODELS: dict[Architecture, type[Model]] = {
    "encoder_decoder": EncoderDecoder,
    "classifier": Classifier,
    "decoder": LanguageModel,
    "spans": SpanExtractor,
}


def build(config: Config, *, gradient_checkpointing: bool = False) -> Model:
    """Build a new model with weights drawn from PyTorch's global generator.

    Args:
        gradient_checkpointing: trade time for memory in training; see `stacks.Stack`.
    """
    model = MODELS[config.architecture](config)
    for module in model.modules():
        if isinstance(module, Stack):
            module.gradient_checkpointing = gradient_checkpointing
    return model


# The classes of `attention_lab.huggingface.models` that the files are written for; they hold the model under PREFIX.
CLASSES: dict[Architecture, str] = {
    "encoder_decoder": "LabForSeq2SeqLM",
    "classifier": "LabForSequenceClassification",
    "decoder": "LabForCausalLM",
    "spans": "LabForQuestionAnswering",
}
PREFIX = "transformer."


def writing(config: Config) -> dict[str, Any]:
    """What transformers' `generate` needs to know: the special tokens, and which of them must not be generated."""
    found: dict[str, Any] = {"bos_token_id": config.start, "eos_token_id": config.end, "pad_token_id": config.pad}
    if config.architecture == "encoder_decoder":
        found["decoder_start_token_id"] = config.start
    return {**found, "suppress_tokens": sorted({config.pad, config.start} - {config.end})}


def save(model: Model, directory: Path) -> None:
    """Write config.json, model.safetensors and, for a model that writes, generation_config.json.

    Each file is written atomically, and with the same bytes for the same model. The format is that of transformers,
    whose `AutoModel…` can read them too (see `attention_lab.huggingface.models`).
    """
    own = model.config
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "architectures": [CLASSES[own.architecture]],
            "model_type": "attention_lab",
            "transformer": own.model_dump(),
        }
    }
    if isinstance(model, Writer):
        files["generation_config.json"] = writing(own)
    for name, content in files.items():
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        write_bytes(text.encode() + b"\n", directory / name)
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replaced(directory / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def load(directory: Path, device: str | torch.device = "cpu", task: str | None = None) -> Model:
    """Load a saved model, in eval mode.

    Args:
        task: that it should be for; None: any.

    Raises:
        InputError: the folder holds no model, or one that was not trained here, or for another task, or is damaged.
    """
    if not (directory / "model.safetensors").exists():
        raise InputError(f"{directory} holds no trained model; run `dvc repro train` first")
    try:
        content = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        if "transformer" not in content:
            raise InputError(
                f"{directory} holds a model that was not trained here; name what `dvc repro train` has written"
            )
        config = Config(**content["transformer"])
        if task not in (None, config.task):
            raise InputError(f"{directory} holds a model for {config.task}, but task is {task}; run `dvc repro train`")
        model = build(config)
        tensors = load_file(directory / "model.safetensors")
        model.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # an incomplete copy, files of two models
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{directory} holds a model that cannot be read ({reason}); copy all of its files again or run `dvc repro "
            "train`"
        ) from None
    return model.to(device).eval()
