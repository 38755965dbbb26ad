"""Two models from the same blocks: the encoder-decoder and the encoder with a class on top.

Shapes: B batch, Ls source positions, Lt target positions, W width, V vocabulary, C classes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.errors import InputError
from attention_lab.transformer.blocks import BlockCache, Embedding
from attention_lab.transformer.config import Config
from attention_lab.transformer.loss import projected_cross_entropy
from attention_lab.transformer.stacks import Decoder, Encoder


@dataclass
class Seen:
    """Attention weights of one forward pass, one tensor per layer: (B, H, Lq, Lk)."""

    encoder_self: list[Tensor] = field(default_factory=list)
    decoder_self: list[Tensor] = field(default_factory=list)
    cross: list[Tensor] = field(default_factory=list)


class EncoderDecoder(nn.Module):
    """The Transformer of the paper, with one embedding for source, target and output."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(
        self, source: Tensor, source_mask: Tensor, target: Tensor, *, weights: bool = False
    ) -> tuple[Tensor, Seen]:
        """source (B, Ls), source_mask (B, Ls), target (B, Lt) → hidden (B, Lt, W), weights if asked for"""
        memory, encoder_self = self.encoder(self.embedding(source), source_mask, weights=weights)
        hidden, decoder_self, cross = self.decoder(self.embedding(target), memory, source_mask, weights=weights)
        return hidden, Seen(encoder_self, decoder_self, cross)

    def project(self, hidden: Tensor) -> Tensor:
        """hidden (…, W) → logits (…, V), with the embedding (Press & Wolf 2017, arXiv 1608.05859)"""
        return F.linear(hidden, self.embedding.tokens.weight)

    def cross_entropy(self, hidden: Tensor, truth: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
        """hidden (N, W), truth (N,) → see `projected_cross_entropy`: `project` and the loss in one"""
        return projected_cross_entropy(hidden, self.embedding.tokens.weight, truth, smoothing)

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        """source (B, Ls) → memory (B, Ls, W)"""
        return self.encoder(self.embedding(source), source_mask)[0]

    def caches(self) -> list[BlockCache]:
        """Empty caches for a decoding."""
        return [BlockCache() for _ in range(self.config.decoder_layers)]

    def step(self, token: Tensor, memory: Tensor, memory_mask: Tensor, caches: list[BlockCache]) -> Tensor:
        """One step of decoding: the newest tokens (B, 1) → logits for the next (B, V). Extends the caches."""
        vectors = self.embedding(token, start=caches[0].itself.length)
        hidden, _, _ = self.decoder(vectors, memory, memory_mask, caches=caches)
        return self.project(hidden[:, -1])


class Classifier(nn.Module):
    """An encoder; the class is read from the first position, which stands for the whole text (Devlin et al. 2019,
    arXiv 1810.04805, section 3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.encoder = Encoder(config)
        self.classes = nn.Linear(config.width, len(config.labels))
        nn.init.xavier_uniform_(self.classes.weight)
        nn.init.zeros_(self.classes.bias)

    def forward(self, source: Tensor, source_mask: Tensor, *, weights: bool = False) -> tuple[Tensor, Seen]:
        """source (B, Ls), source_mask (B, Ls) → logits (B, C), weights if asked for"""
        hidden, encoder_self = self.encoder(self.embedding(source), source_mask, weights=weights)
        return self.classes(hidden[:, 0]), Seen(encoder_self=encoder_self)


MODELS: dict[str, type[EncoderDecoder] | type[Classifier]] = {
    "encoder_decoder": EncoderDecoder,
    "classifier": Classifier,
}


def build(config: Config) -> EncoderDecoder | Classifier:
    """A new model with weights drawn from PyTorch's global generator."""
    return MODELS[config.architecture](config)


def save(model: EncoderDecoder | Classifier, directory: Path) -> None:
    """Write config.json and model.safetensors, the same bytes for the same model."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(
        json.dumps(model.config.model_dump(), indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()},
        directory / "model.safetensors",
    )


def load(directory: Path, device: str | torch.device = "cpu") -> EncoderDecoder | Classifier:
    """Read a model back, ready for inference.

    Raises:
        InputError: there is no model in that folder.
    """
    if not (directory / "model.safetensors").exists():
        raise InputError(f"{directory} holds no trained model; run `dvc repro train` first")
    config = Config.model_validate_json((directory / "config.json").read_text(encoding="utf-8"))
    model = build(config)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    return model.to(device).eval()
