"""What is needed to build a model again: the content of config.json beside its weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from attention_lab.attention import Mechanism, mechanism
from attention_lab.errors import InputError
from attention_lab.params import Params

Place = Literal["encoder_self", "decoder_self", "cross"]


class Config(BaseModel):
    """The size and the choices of one Transformer.

    vocabulary: entries of the tokenizer, shared by source, target and output.
    labels: class names of a classifier, else empty.
    positions: longest sequence; binding for learned positions only.
    mechanisms: the attention mechanism of each place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    architecture: Literal["encoder_decoder", "classifier"]
    task: str
    vocabulary: int
    labels: tuple[str, ...]
    pad: int
    start: int
    end: int
    positions: int
    layers: int
    decoder_layers: int
    width: int
    heads: int
    feedforward: int
    dropout: float
    attention_dropout: float
    norm: Literal["pre", "post"]
    position: Literal["none", "sinusoidal", "learned", "rotary"]
    mechanisms: dict[Place, str]
    options: dict[str, Any]

    @property
    def mechanism_name(self) -> str:
        """One name if all places that this architecture has share it, else each place with its own."""
        names = {
            p: n for p, n in self.mechanisms.items() if self.architecture == "encoder_decoder" or p == "encoder_self"
        }
        if len(set(names.values())) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{place}: {name}" for place, name in names.items())

    def mechanism(self, place: Place) -> Mechanism:
        return mechanism(self.mechanisms[place])

    @staticmethod
    def of(
        params: Params,
        *,
        architecture: Literal["encoder_decoder", "classifier"],
        vocabulary: int,
        labels: list[str],
        pad: int,
        start: int,
        end: int,
    ) -> Config:
        """The configuration that params.yaml asks for.

        Raises:
            InputError: a mechanism is unknown, or has not the options that are given.
        """
        attention = params.attention
        config = Config(
            architecture=architecture,
            task=params.task,
            vocabulary=vocabulary,
            labels=tuple(labels),
            pad=pad,
            start=start,
            end=end,
            positions=max(params.encode.max_source_tokens, params.encode.max_target_tokens),
            mechanisms={
                "encoder_self": attention.encoder_self or attention.mechanism,
                "decoder_self": attention.decoder_self or attention.mechanism,
                "cross": attention.cross or attention.mechanism,
            },
            options=attention.options,
            **{**params.model.model_dump(), "decoder_layers": params.model.decoder_layers or params.model.layers},
        )
        for name in config.mechanisms.values():
            mechanism(name)
        if config.options:
            raise InputError(
                f"attention.options: {config.mechanism_name} has none, but {', '.join(config.options)} is given; "
                "write attention.options: {}"
            )
        return config
