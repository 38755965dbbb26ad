"""params.yaml as frozen, typed sections.

params.yaml is the only place for values: there are no defaults, except that the options of a mechanism for one place
may be left out. `load` checks the whole file and then returns only the sections a stage declares in dvc.yaml, so that
no stage can read what DVC does not track.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attention_lab.errors import InputError

TaskName = Literal["translation", "summarization", "question_answering", "generation", "sentiment", "multi_label"]
WRITING = ("translation", "summarization")  # tasks that read one text and write another
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positional = Literal["none", "sinusoidal", "learned", "rotary", "sinusoidal_rotary"]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        protected_namespaces=(),
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


class Data(Section):
    """Where records come from."""

    source: Literal["embedded", "file", "hub"]
    size: Annotated[int, Field(ge=100)] | None  # rows, for embedded only; None: the size in `corpora.CORPORA`
    path: str | list[str] | None
    train: str | list[str] | None
    valid: str | list[str] | None
    test: str | list[str] | None
    name: str | None
    config: str | None
    columns: dict[str, str]
    unit: Literal["line", "paragraph", "file"]  # what becomes a row in a plain text file

    @model_validator(mode="after")
    def _source_has_what_it_needs(self) -> Data:
        of = {"hub": ("name", "config"), "file": ("path", "train", "valid", "test")}
        for source, names in of.items():
            given = [name for name in names if getattr(self, name)]
            if given and source != self.source:
                raise ValueError(f"{given[0]} is for source: {source}, but source is {self.source}; change one of them")
        if self.source == "file" and bool(self.path) == bool(self.train):
            raise ValueError("source: file needs either path (one file) or train (files that are already split)")
        if self.source == "file" and self.path is not None and (self.valid or self.test):
            raise ValueError(
                "path is one file that `split` divides; with valid or test files, name the training file in train"
            )
        if self.source == "hub" and self.name is None:
            raise ValueError("source: hub needs name, e.g. stanfordnlp/sst2")
        return self


class Clean(Section):
    """Filters; each can be switched off."""

    unicode: Literal["NFC", "NFKC"] | None
    lowercase: bool
    remove_punctuation: bool
    collapse_whitespace: bool
    min_characters: Positive
    max_characters: Positive
    duplicates: bool
    near_duplicates: Annotated[float, Field(gt=0.0, le=1.0)] | None  # Jaccard similarity of character 5-grams
    conflicting_labels: bool
    overlap: Literal["error", "drop"]

    @model_validator(mode="after")
    def _bounds(self) -> Clean:
        if self.min_characters > self.max_characters:
            raise ValueError("min_characters is larger than max_characters; change one of them")
        return self


class Vocab(Section):
    tokenizer: Literal["word", "character", "bpe", "wordpiece", "unigram"]
    # For tasks that read one text and write another: one vocabulary for both, or one for each. Others always have one.
    shared: bool
    size: Annotated[int, Field(ge=32)]  # entries of each vocabulary, including special tokens
    min_frequency: Positive
    max_unknown_share: Share


class Split(Section):
    strategy: Literal["hash", "stratified", "predefined"]
    valid: Annotated[float, Field(gt=0.0, lt=1.0)]
    test: Annotated[float, Field(gt=0.0, lt=1.0)]

    @model_validator(mode="after")
    def _something_left(self) -> Split:
        if self.valid + self.test >= 1.0:
            raise ValueError("valid and test together leave nothing to train on; lower one of them")
        return self


class Encode(Section):
    max_source_tokens: Annotated[int, Field(ge=4)]  # including special tokens
    max_target_tokens: Annotated[int, Field(ge=4)]
    overflow: Literal["truncate", "window", "drop"]
    overlap: Annotated[int, Field(ge=1)]  # tokens that consecutive windows share; limited to half a window
    max_overflow_share: Share


class Chosen(Section):
    """A mechanism with options of its own, for one place."""

    mechanism: str
    options: dict[str, Any] = {}


class Attention(Section):
    """A mechanism's name and options (`attention-lab mechanisms` lists them), and others for particular places."""

    mechanism: str
    options: dict[str, Any]
    encoder_self: str | Chosen | None
    decoder_self: str | Chosen | None
    cross: str | Chosen | None


class Model(Section):
    # Layers of the encoder or of a language model, and of the decoder unless decoder_layers is set. None: 4 for
    # question_answering, where each layer can connect one more fact, and 2 for other tasks.
    layers: Positive | None
    decoder_layers: Positive | None
    width: Positive | None  # None: 64 for question_answering, whose model is deeper, and 128 for other tasks
    heads: Positive
    feedforward: Positive
    dropout: Dropout  # of what a sublayer adds
    attention_dropout: Dropout  # of attention weights
    feedforward_dropout: Dropout  # inside the feed-forward layer
    embedding_dropout: Dropout | None  # None: as dropout
    norm: Literal["pre", "post", "sandwich"]  # before a sublayer, after it and its residual, or before and after it
    normalisation: Literal["layer", "rms"]
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"]  # gelu_tanh: the approximation of GPT-2
    gated: bool  # GLU: a third matrix in the feed-forward layer
    tied: bool  # whether the output projection uses the embedding's weights instead of its own
    # Whether models that read a source and write a target may copy its tokens. None: in summarization, if possible.
    copies: bool | None = Field(alias="copy")  # pydantic has a method called `copy`
    pooling: Literal["first", "mean"]  # read the class from the first position, or from the mean of all
    match: bool  # question_answering: mark words of the text that also occur in the question, and let attention use
    # which words are the same
    # None: sinusoidal_rotary in translation, whose decoder must tell equal words of the source apart, and rotary in
    # other tasks.
    position: Positional | None

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Model:
        if (self.width or 64) % self.heads:
            raise ValueError(
                f"width {self.width or '(null: 64 or 128)'} is not a multiple of heads {self.heads}; change one of them"
            )
        return self


class Train(Section):
    epochs: Positive
    max_steps: Positive | None
    tokens_per_batch: Positive  # source and target tokens of one batch, including padding
    accumulate: Positive  # batches per optimizer step
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]  # at its peak
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"]
    warmup_steps: Annotated[float, Field(ge=0.0)]  # steps until the learning rate peaks; below 1: a share of all steps
    weight_decay: Annotated[float, Field(ge=0.0)]
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)]
    clip_norm: Annotated[float, Field(gt=0.0)] | None
    pretrain: Annotated[int, Field(ge=0)]  # epochs of masked-language-model pre-training of the encoder on the sources
    # Share of source tokens that become <unk>. None: 0.05 in translation, sentiment and multi_label, 0 in other tasks.
    # Explanation methods that hide words then find the right ones more often, because the model has seen such inputs
    # (docs/believed.md).
    word_dropout: Dropout | None
    subword_dropout: Dropout  # for bpe: share of merges left out, drawn anew in every epoch
    r_drop: Annotated[float, Field(ge=0.0)]  # weight of the divergence between two passes; doubles the time
    multi_task: Annotated[float, Field(ge=0.0)]  # weight of predicting hidden source words as a second task
    average: Annotated[float, Field(ge=0.0)]  # epochs over which weights are averaged; 0: no averaging
    patience: Positive | None  # epochs
    metric: Literal["loss", "accuracy"]
    checkpoint_steps: Positive
    gradient_checkpointing: bool  # less memory for more time; the same gradients
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Positive | None  # of the CPU; their number changes the last bits of sums, and so the trained weights
    processes: Positive

    @model_validator(mode="after")
    def _steps_are_counted_or_a_share(self) -> Train:
        if self.warmup_steps > 1.0 and not self.warmup_steps.is_integer():
            raise ValueError(
                f"warmup_steps {self.warmup_steps} is not a whole number of steps, nor a share of all steps (below 1)"
            )
        return self


class Evaluate(Section):
    split: Literal["valid", "test"]
    beams: Positive
    best: Positive  # answers per row, best first; only the first is measured
    length_penalty: Annotated[float, Field(ge=0.0)]
    max_tokens: Positive
    max_ratio: Annotated[float, Field(gt=0.0)]  # longest target: this many times the source's tokens, plus ten
    min_tokens: Annotated[int, Field(ge=0)]  # shortest target or continuation, without start and end tokens
    no_repeat_ngram: Annotated[int, Field(ge=0)]  # no sequence of this many tokens occurs twice; 0: no restriction
    # Divides the logits of tokens that have occurred if positive, and multiplies them otherwise; 1: no penalty.
    repetition_penalty: Annotated[float, Field(ge=1.0)]
    no_answer: float | None  # questions: no answer if that is more than this many nats likelier; None: always answer
    threshold: Share  # multi_label: a label is predicted from this probability on
    prompt_tokens: Positive | None  # generation: tokens of a text to give, including the start token; None: all
    temperature: Annotated[float, Field(ge=0.0)]  # generation: divides the logits; 0: always the most probable token
    top_k: Positive | None  # generation: draw from the k most probable tokens; None: from all
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]  # generation: … from the fewest tokens that together reach p
    seed: Annotated[int, Field(ge=0)]  # generation: a different seed draws different texts
    bootstrap: Annotated[int, Field(ge=100)]  # resamples
    tokens_per_batch: Positive


class Interpret(Section):
    examples: Positive  # shown in the report
    valid_rows: Positive  # rows used to choose layer and head; drawn at random if there are more
    test_rows: Positive  # rows that are measured
    explained_rows: Positive  # test rows that every method explains, and half as many valid rows
    explained_tokens: Positive  # … but only as many rows as together have this many tokens, read and written
    explained_pairs: Positive  # explained examples: the shortest, up to this many pairs of output and source tokens
    explained_words: Positive  # words of each output whose faithfulness is measured
    checked_rows: Positive  # rows on which heads are ablated and parameters randomised
    steps: Positive  # of integrated gradients; four times as many if these are too few
    bootstrap: Annotated[int, Field(ge=100)]  # resamples
    beside: str | None  # folder with a model of the same task whose explanations are compared; None: no comparison


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    task: TaskName
    data: Data
    clean: Clean
    vocab: Vocab
    split: Split
    encode: Encode
    attention: Attention
    model: Model
    train: Train
    evaluate: Evaluate
    interpret: Interpret

    @model_validator(mode="after")
    def _copies_are_words_of_the_target(self) -> Params:
        if self.task in WRITING and self.model.copies and not self.vocab.shared:
            raise ValueError(
                "model.copy needs one vocabulary for source and target, because copied tokens belong to both; set "
                "vocab.shared to true or model.copy to false"
            )
        return self


class _Loader(yaml.SafeLoader):
    """A SafeLoader with YAML 1.2 floats: DVC writes 3e-05, which PyYAML (YAML 1.1) would read as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def load(path: Path, *sections: str) -> Params:
    """Read and check params.yaml; return only the named sections (all if none is named).

    Raises:
        InputError: the file is missing or not valid YAML, or a value is unknown, missing or out of range.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; run the command where params.yaml is") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path} holds no parameters; `git checkout {path}` restores them")
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from None
    if not sections:
        return params
    return Params.model_construct(_fields_set=set(sections), **{name: getattr(params, name) for name in sections})


def record(path: Path, *leave_out: str) -> dict[str, Any]:
    """All values of params.yaml except those sections, for logging only: stages compute with what `load` returns."""
    return load(path).model_dump(exclude=set(leave_out))


def _sentence(error: ValidationError) -> str:
    """The first of pydantic's errors, in words: which parameter, what is wrong, what is allowed."""
    every = error.errors()
    # A place takes a name or a mapping. For a mapping, report what is wrong in it, not that it is not a name.
    first = next((one for one in every if "Chosen" in one["loc"] and one["type"] != "model_type"), every[0])
    parts = [str(part) for part in first["loc"] if part not in ("str", "Chosen")]
    name = ".".join(part for part in parts if not part.startswith(("function-", "list[")))
    if first["type"] == "extra_forbidden":
        owner: Any = Params
        for part in first["loc"][:-1]:
            owner = Chosen if part == "Chosen" else owner.model_fields[str(part)].annotation
        known = ", ".join(field.alias or own for own, field in owner.model_fields.items())
        return f"unknown parameter {name}; known here: {known}"
    if first["type"] == "missing":
        return f"the parameter {name} is missing; add it (params.py says what it means)"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    return f"{name} {message}".lstrip() + ("" if first["type"] == "value_error" else f", not {first['input']!r}")
