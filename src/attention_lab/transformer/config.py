"""Everything needed to rebuild a model, apart from its weights: the content of config.json."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attention_lab.attention import PLACES, Mechanism, Place, mechanism
from attention_lab.errors import InputError
from attention_lab.params import Attention, Params, Positional

Architecture = Literal["encoder_decoder", "classifier", "decoder", "spans"]

# The kinds of attention in each architecture.
HAS: dict[Architecture, tuple[Place, ...]] = {
    "encoder_decoder": PLACES,
    "classifier": ("encoder_self",),
    "decoder": ("decoder_self",),
    "spans": ("encoder_self",),
}
FALLBACK = "scaled_dot_product"  # for places in which the chosen mechanism is not valid


class Chosen(BaseModel):
    """A mechanism of the catalogue with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}


class Config(BaseModel):
    """The sizes and choices that define one Transformer.

    architecture: encoder_decoder; classifier, an encoder with a classification head; decoder, a causal language model;
        spans, an encoder with two scores for each position, for being the start and the end of an answer.
    vocabulary: size of the vocabulary shared by source, target and output. target_vocabulary: its size for an
        encoder-decoder whose target and output have their own tokenizer, and so their own embedding; None: shared.
    labels: class names of a classifier, else empty.
    positions: longest sequence, for learned positions and for mechanisms with a parameter per position.
    layers: of the encoder; decoder_layers: of the decoder, including a language model's.
    norm: where a block normalises; see `blocks.Residual`. normalisation: layer (Ba et al. 2016, arXiv 1607.06450) or
        rms (Zhang & Sennrich 2019, arXiv 1910.07467). epsilon: added to the variance or mean square.
    activation, gated: of the feed-forward layer; see `blocks.FeedForward`.
    tied: the output projection uses the embedding's weights (Press & Wolf 2017, arXiv 1608.05859) instead of its own.
    copies: an encoder-decoder may copy tokens of its source; see `pointer`. Called copy in files.
    pooling: the class is read from the first position, or from the mean of all; see `read_from`.
    position: how the model knows about order. Sinusoidal and learned vectors are added to embeddings, rotary turns the
        queries and keys of self-attention. sinusoidal_rotary: sinusoidal and rotary.
    match: tokens of a text that also occur in its question form a segment of their own, and attention knows which
        tokens are the same; see `models.segments_of` and `models.same_words`.
    no_answer: a model that looks for answers may find that there is none; False if it was trained on no such question.
    dropout: of what a block adds to its input; attention_dropout: of attention weights; feedforward_dropout: inside the
        feed-forward layer; embedding_dropout: of embeddings, None: as dropout.
    mechanisms: the attention mechanism of each place.

    The rest serve mainly models that `from_huggingface` loads; of them, training here sets only `segments`.

    embedding_scale: factor of the token vectors, None: √W. embedding_norm: normalise the embeddings.
    segments: number of segments that an input can have (BERT's token types); 0: none are distinguished.
    target_embedding: the decoder has its own positions and embedding norm; token vectors are shared.
    output_scale: factor of the hidden vectors before the output projection. output_bias: the projection has a bias.
    final_norm: whether a stack ends with a norm; None: only if the blocks normalise their inputs.
    pooled: a hidden layer with tanh precedes the classification head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), serialize_by_alias=True)

    architecture: Architecture
    task: str
    vocabulary: int
    target_vocabulary: int | None = None
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
    feedforward_dropout: float = 0.0
    embedding_dropout: float | None = None
    norm: Literal["pre", "post", "sandwich"]
    normalisation: Literal["layer", "rms"] = "layer"
    epsilon: float = 1e-5
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "relu"
    gated: bool = False
    tied: bool = True
    copies: bool = Field(default=False, alias="copy")  # pydantic models have a method called copy
    pooling: Literal["first", "mean"] = "first"
    match: bool = False
    no_answer: bool = True
    position: Positional
    mechanisms: dict[Place, Chosen]

    embedding_scale: float | None = None
    embedding_norm: bool = False
    segments: int = 0
    target_embedding: bool = False
    output_scale: float = 1.0
    output_bias: bool = False
    final_norm: bool | None = None
    pooled: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        """The kinds of attention in this architecture."""
        return HAS[self.architecture]

    @property
    def written(self) -> int:
        """Size of the output vocabulary."""
        return self.target_vocabulary or self.vocabulary

    @property
    def mechanism_name(self) -> str:
        """One name if all places of this architecture share it, otherwise each place with its own."""
        names = {place: self.mechanisms[place].name for place in self.places}
        if len(set(names.values())) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{place}: {name}" for place, name in names.items())

    def read_from(self, length: int) -> list[int]:
        """The positions whose mean the class of a text of `length` tokens is read from."""
        return list(range(length)) if self.pooling == "mean" else [0]

    def mechanism(self, place: Place) -> Mechanism:
        chosen = self.mechanisms[place]
        return mechanism(chosen.name, chosen.options)

    @staticmethod
    def of(
        params: Params,
        *,
        architecture: Architecture,
        layers: int,
        width: int,
        position: Positional,
        vocabulary: int,
        target_vocabulary: int | None = None,
        labels: list[str],
        pad: int,
        start: int,
        end: int,
    ) -> Config:
        """Make the configuration that params.yaml describes.

        Args:
            layers, width, position: used where params.yaml leaves them null.

        Raises:
            InputError: a mechanism is unknown, lacks one of the options given, or is not valid in the place it is named
                for; or one is named for a place that the architecture does not have.
        """
        model = params.model
        layers, width = model.layers or layers, model.width or width
        match = model.match and architecture == "spans"
        # A language model has a single stack, whose layers are the decoder's.
        of_decoder = layers if architecture == "decoder" else model.decoder_layers or layers
        for place in PLACES:
            if place not in HAS[architecture] and getattr(params.attention, place) is not None:
                there = " and ".join(f"attention.{one}" for one in HAS[architecture])
                raise InputError(
                    f"attention.{place}: a model of the task {params.task} has no such attention; set it to null "
                    f"(there is {there})"
                )
        mechanisms = {place: chosen(params.attention, place) for place in PLACES}
        copies = model.copies
        if copies is None:
            cross = mechanism(mechanisms["cross"].name, mechanisms["cross"].options)
            copies = params.task == "summarization" and target_vocabulary is None and cross.weights == "probabilities"
        return Config(
            architecture=architecture,
            task=params.task,
            vocabulary=vocabulary,
            target_vocabulary=target_vocabulary,
            labels=tuple(labels),
            pad=pad,
            start=start,
            end=end,
            segments=2 + match if architecture == "spans" else 0,  # question, text, tokens of the text in both
            positions=max(params.encode.max_source_tokens, params.encode.max_target_tokens)
            if architecture == "encoder_decoder"
            else params.encode.max_source_tokens,
            mechanisms=mechanisms,
            **{
                **model.model_dump(),
                "layers": layers,
                "decoder_layers": of_decoder,
                "width": width,
                "position": model.position or position,
                "copy": copies,
                "match": match,
            },
        )


def chosen(attention: Attention, place: Place) -> Chosen:
    """The mechanism of one place: the one named for it, else the one for all places, or `FALLBACK` if that is not valid
    there.

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
    try:
        row = mechanism(own.name, own.options)
    except InputError as error:
        found = str(error)
        for part, at in (("mechanism", f"attention.{place}"), ("options", f"attention.{place}.options")):
            found = found.replace(f"attention.{part}", at)
        raise InputError(found) from None
    if place not in row.places:
        raise InputError(f"attention.{place}: {own.name} is not for {place.replace('_', ' ')}-attention: {row.why}")
    return own


def stand_ins(params: Params, config: Config) -> list[str]:
    """One sentence for each place in which the chosen mechanism is not valid and was replaced, one if a summary cannot
    copy, and one if there are no weights for attention dropout."""
    attention = params.attention
    row = mechanism(attention.mechanism, attention.options)
    found = [
        f"attention: {row.name} is not for {place.replace('_', ' ')}-attention ({row.why}); {FALLBACK} takes its place"
        for place in config.places
        if getattr(attention, place) is None and place not in row.places
    ]
    if params.task == "summarization" and params.model.copies is None and not config.copies:
        found.append(
            "model.copy: no word of the source is copied; that takes one vocabulary for source and target, and "
            "cross-attention whose weights are probabilities"
        )
    kernels = ", ".join(sorted({row.name for row in map(config.mechanism, config.places) if row.kernel is not None}))
    if config.attention_dropout and kernels:
        found.append(f"model.attention_dropout has no effect in {kernels}: kernels compute no weights")
    return found
