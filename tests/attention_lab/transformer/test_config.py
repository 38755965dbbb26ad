"""From params.yaml to the configuration of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_models import config

from attention_lab import params
from attention_lab.errors import InputError
from attention_lab.transformer import Config, build
from attention_lab.transformer.config import stand_ins

PARAMS = params.load(Path(__file__).parents[3] / "params.yaml")
# What the task and the vocabulary say.
SIZES: dict[str, Any] = {
    "layers": 2,
    "width": 128,
    "position": "rotary",
    "vocabulary": 31,
    "labels": [],
    "pad": 0,
    "start": 2,
    "end": 3,
}
# What params.yaml says nothing of has the default of `Config`.
SAID = (
    "feedforward_dropout",
    "embedding_dropout",
    "normalisation",
    "activation",
    "gated",
    "tied",
    "copies",
)


def asked(**model: Any) -> Config:
    changed = PARAMS.model_copy(update={"model": PARAMS.model.model_copy(update=model)})
    return Config.of(changed, architecture="decoder", **SIZES)


def test_the_projects_own_model_has_the_defaults() -> None:
    made, plain = asked(), config()
    assert {name: getattr(made, name) for name in SAID} == {name: getattr(plain, name) for name in SAID}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feedforward_dropout", 0.25),
        ("embedding_dropout", 0.0),
        ("norm", "sandwich"),
        ("normalisation", "rms"),
        ("activation", "silu"),
        ("gated", True),
        ("tied", False),
        ("copies", True),
        ("position", "none"),
    ],
)
def test_what_params_yaml_asks_for_is_there(name: str, value: Any) -> None:
    assert getattr(asked(**{name: value}), name) == value
    assert getattr(asked(), name) != value


@pytest.mark.parametrize(
    ("task", "mechanism", "target_vocabulary", "copies", "found"),
    [
        ("summarization", "scaled_dot_product", None, None, True),
        ("translation", "scaled_dot_product", None, None, False),
        ("summarization", "sigmoid", None, None, False),  # its weights have any sum
        ("summarization", "scaled_dot_product", 37, None, False),
        ("summarization", "scaled_dot_product", None, False, False),
        ("translation", "scaled_dot_product", None, True, True),
    ],
)
def test_a_summary_copies_where_it_can_if_nothing_is_said(
    task: str, mechanism: str, target_vocabulary: int | None, copies: bool | None, found: bool
) -> None:
    changes = {
        "task": task,
        "model": PARAMS.model.model_copy(update={"copies": copies}),
        "attention": PARAMS.attention.model_copy(update={"mechanism": mechanism}),
    }
    asked = PARAMS.model_copy(update=changes)
    made = Config.of(asked, architecture="encoder_decoder", target_vocabulary=target_vocabulary, **SIZES)
    assert made.copies == found
    told = any("model.copy" in sentence for sentence in stand_ins(asked, made))
    assert told == (task == "summarization" and copies is None and not found)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", ["linear", "sparsemax"])
def test_attention_dropout_without_weights_to_drop_is_told(name: str, dropout: float) -> None:
    changes = {
        "attention": PARAMS.attention.model_copy(update={"mechanism": name}),
        "model": PARAMS.model.model_copy(update={"attention_dropout": dropout}),
    }
    asked = PARAMS.model_copy(update=changes)
    told = stand_ins(asked, Config.of(asked, architecture="encoder_decoder", **SIZES))
    sentence = "model.attention_dropout has no effect in linear: kernels compute no weights"
    assert told == ([sentence] if name == "linear" and dropout else [])


def test_each_architecture_has_its_kinds_of_attention() -> None:
    places = {name: config(architecture=name).places for name in ("encoder_decoder", "classifier", "decoder", "spans")}
    assert places == {
        "encoder_decoder": ("encoder_self", "decoder_self", "cross"),
        "classifier": ("encoder_self",),
        "decoder": ("decoder_self",),
        "spans": ("encoder_self",),
    }


@pytest.mark.parametrize(
    ("architecture", "place"), [("classifier", "cross"), ("spans", "decoder_self"), ("decoder", "encoder_self")]
)
def test_a_mechanism_for_a_place_that_is_not_there_is_refused(architecture: Any, place: Any) -> None:
    attention = PARAMS.attention.model_copy(update={place: "additive"})
    changed = PARAMS.model_copy(update={"attention": attention})
    with pytest.raises(InputError, match=f"attention.{place}: a model of the task translation has no such attention"):
        Config.of(changed, architecture=architecture, **SIZES)
    assert Config.of(changed, architecture="encoder_decoder", **SIZES).mechanisms[place].name == "additive"


def test_a_language_model_has_all_layers_and_a_decoder_those_of_its_own() -> None:
    def layers(architecture: Any, **model: Any) -> int:
        changed = PARAMS.model_copy(update={"model": PARAMS.model.model_copy(update=model)})
        made = Config.of(changed, architecture=architecture, **SIZES)
        return made.decoder_layers

    assert layers("decoder", layers=5, decoder_layers=3) == 5
    assert layers("encoder_decoder", layers=5, decoder_layers=3) == 3
    assert layers("encoder_decoder", layers=5, decoder_layers=None) == 5


@pytest.mark.parametrize(
    ("architecture", "match", "segments"), [("spans", True, 3), ("spans", False, 2), ("decoder", True, 0)]
)
def test_only_who_reads_a_question_is_told_which_words_match(architecture: Any, match: bool, segments: int) -> None:
    changed = PARAMS.model_copy(update={"model": PARAMS.model.model_copy(update={"match": match})})
    made = Config.of(changed, architecture=architecture, **SIZES)
    assert made.match == (match and architecture == "spans")
    assert made.segments == segments
    told = [name for name, _ in build(made).named_parameters() if name.endswith("position.numbers")]
    assert len(told) == (made.layers if made.match else 0)
