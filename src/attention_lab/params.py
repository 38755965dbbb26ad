"""params.yaml as frozen, typed sections.

A value lives in params.yaml or nowhere; nothing but the options of a mechanism for one place may be left out. `load`
checks the whole file and then hands out only the sections a stage has declared in dvc.yaml, so that no stage can read
what DVC does not watch.
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
    size: Annotated[int, Field(ge=100)] | None  # rows, embedded only; None: see `corpora.CORPORA`
    path: str | list[str] | None
    train: str | list[str] | None
    valid: str | list[str] | None
    test: str | list[str] | None
    name: str | None
    config: str | None
    columns: dict[str, str]
    unit: Literal["line", "paragraph", "file"]  # what a row of plain text is

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
    # Tasks that read one text and write another: one vocabulary for both, or one for each. The others have one anyway.
    shared: bool
    size: Annotated[int, Field(ge=32)]  # entries of each vocabulary, special tokens included
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
    max_source_tokens: Annotated[int, Field(ge=4)]  # special tokens included
    max_target_tokens: Annotated[int, Field(ge=4)]
    overflow: Literal["truncate", "window", "drop"]
    overlap: Annotated[int, Field(ge=1)]  # tokens that two windows of a long text share; at most half of one
    max_overflow_share: Share


class Chosen(Section):
    """A mechanism with options of its own, for one place."""

    mechanism: str
    options: dict[str, Any] = {}


class Attention(Section):
    """A mechanism's name and options (`attention-lab mechanisms` lists them), and others for single places."""

    mechanism: str
    options: dict[str, Any]
    encoder_self: str | Chosen | None
    decoder_self: str | Chosen | None
    cross: str | Chosen | None


class Model(Section):
    # Of the encoder or of a language model, and of the decoder unless it has a number of its own. None: 4 in
    # question_answering, where each may join one more fact, and 2 elsewhere.
    layers: Positive | None
    decoder_layers: Positive | None
    width: Positive | None  # None: 64 in question_answering, whose model is deeper, and 128 elsewhere
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
    tied: bool  # the output has the embedding as its weights, or has its own
    # Models that read a source and write a target: they may copy its tokens. None: in summarization, where they can.
    copies: bool | None = Field(alias="copy")  # pydantic has a method of the name `copy`
    pooling: Literal["first", "mean"]  # classes are read from the first position, or from the mean of all
    match: bool  # question_answering: words of the text that the question has too are marked, and attention is told
    # which words are the same
    position: Literal["none", "sinusoidal", "learned", "rotary"]

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
    tokens_per_batch: Positive  # source and target tokens of one batch, padding included
    accumulate: Positive  # batches per optimizer step
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]  # at its peak
    schedule: Literal["constant", "linear", "cosine", "inverse_sqrt"]
    warmup_steps: Annotated[float, Field(ge=0.0)]  # until the learning rate is at its peak; below 1: of all steps
    weight_decay: Annotated[float, Field(ge=0.0)]
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)]
    clip_norm: Annotated[float, Field(gt=0.0)] | None
    pretrain: Annotated[int, Field(ge=0)]  # epochs in which the encoder learns to guess hidden words of the sources
    # Share of source tokens that become <unk>. None: 0.05 in translation, sentiment and multi_label, where methods then
    # name the right words more often (docs/believed.md); they hide words, and a model should have met that.
    word_dropout: Dropout | None
    subword_dropout: Dropout  # of a byte-pair encoding: share of merges left out, drawn anew in every epoch
    r_drop: Annotated[float, Field(ge=0.0)]  # how much the distributions of two passes must be alike; twice the time
    multi_task: Annotated[float, Field(ge=0.0)]  # how much guessing hidden words of the sources counts beside the task
    average: Annotated[float, Field(ge=0.0)]  # epochs over which weights are averaged; 0: they are not
    patience: Positive | None  # epochs
    metric: Literal["loss", "accuracy"]
    checkpoint_steps: Positive
    gradient_checkpointing: bool  # less memory for more time; the same gradients
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    threads: Positive | None  # of a CPU; their number changes the last bits of sums, and so the weights
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
    best: Positive  # so many answers for each row, the best first; only the first is measured
    length_penalty: Annotated[float, Field(ge=0.0)]
    max_tokens: Positive
    max_ratio: Annotated[float, Field(gt=0.0)]  # longest target: so many times the source's tokens, plus ten
    min_tokens: Annotated[int, Field(ge=0)]  # shortest target or continuation, start and end not counted
    no_repeat_ngram: Annotated[int, Field(ge=0)]  # no sequence of so many tokens is said twice; 0: any may
    repetition_penalty: Annotated[float, Field(ge=1.0)]  # logits of what was said are divided by it if positive
    no_answer: float | None  # questions: none is said where it is by so many nats likelier; None: always one
    threshold: Share  # multi_label: the least probability of a label that is predicted
    prompt_tokens: Positive | None  # generation: how much of a text is given, start token included; None: all of it
    temperature: Annotated[float, Field(ge=0.0)]  # generation: 0 is the most probable token, always
    top_k: Positive | None  # generation: draw from the k most probable tokens
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]  # generation: … from the fewest whose probabilities reach p
    seed: Annotated[int, Field(ge=0)]  # generation: another number draws other texts
    bootstrap: Annotated[int, Field(ge=100)]  # resamples
    tokens_per_batch: Positive


class Interpret(Section):
    examples: Positive  # shown in the report
    valid_rows: Positive  # rows that choose layer and head; of more, so many are drawn
    test_rows: Positive  # rows that are measured
    explained_rows: Positive  # test rows that every method explains, and half as many valid ones
    explained_tokens: Positive  # … and no more than have so many tokens, read and written
    explained_pairs: Positive  # of the examples, the shortest that have so many pairs of an output and a source token
    explained_words: Positive  # words of each output whose faithfulness is measured
    checked_rows: Positive  # rows on which heads are taken away and parameters drawn anew
    steps: Positive  # of integrated gradients; four times as many where these are too few
    bootstrap: Annotated[int, Field(ge=100)]  # resamples
    beside: str | None  # a folder with a model of the same task: are both explained alike? None: not asked


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
    """YAML 1.2 floats: DVC writes 3e-05, which PyYAML (YAML 1.1) would read as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def load(path: Path, *sections: str) -> Params:
    """Read and check params.yaml; return a view that has the named sections alone (all, if none is named).

    Raises:
        InputError: the file is missing, is no YAML, or a value is unknown, missing or out of range.
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
    """All values of params.yaml but those sections, for the books: what a stage computes with comes from `load`."""
    return load(path).model_dump(exclude=set(leave_out))


def _sentence(error: ValidationError) -> str:
    """The first of pydantic's complaints, in words: which parameter, what is wrong, what is allowed."""
    every = error.errors()
    # A place has a name or a mapping: of a mapping, what is wrong with it, and not that it is no name.
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
