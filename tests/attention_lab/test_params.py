from __future__ import annotations

from pathlib import Path

import pytest

from attention_lab.errors import InputError
from attention_lab.params import WRITING, load, record
from attention_lab.records import SHAPES

PARAMS = Path(__file__).parents[2] / "params.yaml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = PARAMS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_projects_own_file_is_right() -> None:
    params = load(PARAMS)
    assert params.task == "translation"
    assert params.data.source == "embedded"


def test_only_the_named_sections_are_handed_out() -> None:
    params = load(PARAMS, "seed", "task")
    assert params.seed == 42
    with pytest.raises(AttributeError):
        _ = params.train


def test_nothing_can_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(PARAMS).train.epochs = 3


def test_a_place_takes_a_name_or_a_mapping(tmp_path: Path) -> None:
    path = changed(tmp_path, "encoder_self: null", "encoder_self: {mechanism: additive}")
    chosen = load(path).attention.encoder_self
    assert not isinstance(chosen, str | None)
    assert (chosen.mechanism, chosen.options) == ("additive", {})
    for wrong, said in (
        ("{mechanism: additive, option: {}}", "unknown parameter attention.encoder_self.option; known here: mechanism"),
        ("{mechanism: 3}", "attention.encoder_self.mechanism should be a valid string, not 3"),
        ("3", "attention.encoder_self should be a valid string, not 3"),
    ):
        with pytest.raises(InputError, match=said):
            load(changed(tmp_path, "encoder_self: null", f"encoder_self: {wrong}"))
    with pytest.raises(InputError, match=r"split\.strategy should be 'hash'"):
        load(changed(tmp_path, "strategy: hash", "strategy: random"))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs:", "epoches: 3\n  epochs:", "unknown parameter train.epoches; known here: epochs, max_steps"),
        (
            "copy: null",
            "copy: null\n  copies: true",
            "unknown parameter model.copies; known here: .*, tied, copy, pooling, match, position",
        ),
        ("copy: null", "copy: maybe", "model.copy should be a valid boolean"),
        ("seed: 42", "sede: 42", "unknown parameter sede|the parameter seed is missing"),
        ("  dropout: 0.0", "  dropout: 1.5", "model.dropout should be less than 1, not 1.5"),
        (
            "task: translation",
            "task: translating",
            "task should be 'translation', 'summarization', 'question_answering', 'generation', 'sentiment' or "
            "'multi_label', not 'translating'",
        ),
        ("heads: 4", "heads: 5", r"model width \(null: 64 or 128\) is not a multiple of heads 5"),
        ("width: null", "width: 70", "model width 70 is not a multiple of heads 4"),
        ("source: embedded", "source: file", "data source: file needs either path"),
        ("source: embedded", "source: hub", "data source: hub needs name"),
        (
            "  path: null",
            "  path: x.csv",
            "data path is for source: file, but source is embedded; change one of them",
        ),
        ("  config: null", "  config: en", "data config is for source: hub"),
        ("temperature: 1.0", "temperature: .inf", "evaluate.temperature should be a finite number"),
        ("valid: 0.1", "valid: 0.95", "split valid and test together leave nothing to train on"),
        ("heads: 4", "heads: four", "model.heads should be a valid integer"),
        ("heads: 4", "", "the parameter model.heads is missing"),
        (
            "warmup_steps: 0.25",
            "warmup_steps: 1.5",
            "train warmup_steps 1.5 is not a whole number of steps, nor a share",
        ),
        ("warmup_steps: 0.25", "warmup_steps: -1", "train.warmup_steps should be greater than or equal to 0, not -1"),
        ("seed: 42", "seed: [", "is not valid YAML"),
    ],
)
def test_a_wrong_value_is_one_sentence(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        load(changed(tmp_path, old, new))
    assert "\n" not in str(caught.value)
    assert "params.yaml" in str(caught.value)


@pytest.mark.parametrize("task", SHAPES)
def test_who_copies_writes_with_the_vocabulary_of_what_is_read(task: str, tmp_path: Path) -> None:
    """Where nothing is written both values change nothing, and nothing is refused."""
    text = PARAMS.read_text(encoding="utf-8").replace("task: translation", f"task: {task}", 1)
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("shared: true", "shared: false", 1).replace("copy: null", "copy: true", 1))
    assert (task in WRITING) == (SHAPES[task].target is not None)
    if task in WRITING:
        sentence = (
            r"params\.yaml: model\.copy needs one vocabulary .*; set vocab\.shared to true or model\.copy to false$"
        )
        with pytest.raises(InputError, match=sentence):
            load(path)
    else:
        assert not load(path).vocab.shared


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("written", ["3e-05", "3.0e-5", "0.00003", "3E-5"])
def test_numbers_as_dvc_writes_them(written: str, tmp_path: Path) -> None:
    text = PARAMS.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "learning_rate:" in line)
    path = changed(tmp_path, line, f"  learning_rate: {written}")
    assert load(path).train.learning_rate == pytest.approx(3e-5)


def test_the_record_is_everything_but_what_is_left_out() -> None:
    values = record(PARAMS, "evaluate", "interpret")
    assert "evaluate" not in values
    assert values["data"]["source"] == "embedded"
