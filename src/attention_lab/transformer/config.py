"""What is needed to build a model again: the content of config.json beside its weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from attention_lab.attention import PLACES, Mechanism, Place, mechanism
from attention_lab.errors import InputError
from attention_lab.params import Attention, Params

FALLBACK = "scaled_dot_product"  # in places where the chosen mechanism is not valid


class Chosen(BaseModel):
    """A mechanism of the catalogue with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}


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
    mechanisms: dict[Place, Chosen]

    @property
    def places(self) -> tuple[Place, ...]:
        """The kinds of attention that this architecture has."""
        return PLACES if self.architecture == "encoder_decoder" else ("encoder_self",)

    @property
    def mechanism_name(self) -> str:
        """One name if all places that this architecture has share it, else each place with its own."""
        names = {place: self.mechanisms[place].name for place in self.places}
        if len(set(names.values())) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{place}: {name}" for place, name in names.items())

    def mechanism(self, place: Place) -> Mechanism:
        chosen = self.mechanisms[place]
        return mechanism(chosen.name, chosen.options)

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
            InputError: a mechanism is unknown, has not the options given, or is not valid where it is asked for.
        """
        return Config(
            architecture=architecture,
            task=params.task,
            vocabulary=vocabulary,
            labels=tuple(labels),
            pad=pad,
            start=start,
            end=end,
            positions=max(params.encode.max_source_tokens, params.encode.max_target_tokens),
            mechanisms={place: chosen(params.attention, place) for place in PLACES},
            **{**params.model.model_dump(), "decoder_layers": params.model.decoder_layers or params.model.layers},
        )


def chosen(attention: Attention, place: Place) -> Chosen:
    """The mechanism of one place: the one that is named for it, else the one for all places, if it is valid there.

    Raises:
        InputError: see `Config.of`.
    """
    own = getattr(attention, place)
    if own is None:
        row = mechanism(attention.mechanism, attention.options)
        if place not in row.places:
            return Chosen(name=FALLBACK)
        return Chosen(name=attention.mechanism, options=attention.options)
    own = Chosen(name=own) if isinstance(own, str) else Chosen(name=own.mechanism, options=own.options)
    row = mechanism(own.name, own.options)
    if place not in row.places:
        raise InputError(f"attention.{place}: {own.name} is not for {place.replace('_', ' ')}-attention: {row.why}")
    return own


def stand_ins(attention: Attention, config: Config) -> list[str]:
    """A sentence for each place that has not the mechanism asked for, because it is not valid there."""
    row = mechanism(attention.mechanism, attention.options)
    return [
        f"{row.name} is not for {place.replace('_', ' ')}-attention ({row.why}); {FALLBACK} is there"
        for place in config.places
        if getattr(attention, place) is None and place not in row.places
    ]
