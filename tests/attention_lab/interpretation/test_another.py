"""Two models, explained on the same rows: as like as they are, whatever their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import WORDS, Reverser, config, encoded_of, reversed_records, tokenizer_of

from attention_lab import interpretation, vocabulary
from attention_lab.errors import InputError
from attention_lab.interpretation import Interpretation, another, interpret
from attention_lab.interpretation.another import Another
from attention_lab.params import Interpret
from attention_lab.records import SHAPES
from attention_lab.transformer import Model, build, save

OPTIONS = Interpret(
    examples=1, valid_rows=50, test_rows=50, explained_rows=9, explained_tokens=500, explained_pairs=4000,
    explained_words=2, checked_rows=2, steps=2, bootstrap=100, beside=None,
)  # fmt: skip
RECORDS = {"valid": reversed_records(11, 1, "valid"), "test": reversed_records(13, 2, "test")}
TOKENIZER = tokenizer_of([" ".join(WORDS), *RECORDS["valid"]["source"]])


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They show the first model alone, and take as long as all that is looked at here."""
    monkeypatch.setattr(interpretation, "plots", lambda *given: {})


def reverser(tokenizer: Any, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return Reverser(config(len(tokenizer))).eval()


def translated(model: Model, other: Model | None, of_other: Any = TOKENIZER, **changes: Any) -> Interpretation:
    encoded = {name: encoded_of(table, "translation", TOKENIZER, []) for name, table in RECORDS.items()}
    said = RECORDS["test"][["row", "source", "target"]].assign(prediction="red")
    beside = None if other is None else Another(Path("inputs/other"), other, of_other, None)
    values: dict[str, Any] = {"options": OPTIONS, "seed": 1, "device": "cpu", "beside": beside} | changes
    return interpret(model, "translation", encoded, RECORDS, said, TOKENIZER, SHAPES["translation"], **values)


def test_a_model_beside_itself_is_explained_alike() -> None:
    model = reverser(TOKENIZER)
    found = translated(model, model)
    gate = found.metrics["gates"]["seeds"]
    assert gate["value"] == 1.0
    assert gate["passed"] is True
    assert "the model in inputs/other (scaled_dot_product)" in gate["sentence"]
    assert not any("one model" in sentence for sentence in found.metrics["conclusion"])


def test_words_are_compared_and_not_tokens() -> None:
    """The other model cuts every word to pieces, and its layers have other parameters; it looks at the same words."""
    pieces = tokenizer_of(["r g b w p e d n l u a c k h i t o y", "re gr"], kind="character")
    model = build(config(len(pieces)))
    gate = translated(reverser(TOKENIZER), model, pieces).metrics["gates"]["seeds"]
    assert gate["value"] is not None
    words = tokenizer_of([" ".join(WORDS[::-1]), *RECORDS["test"]["source"]])
    assert words.get_vocab() != TOKENIZER.get_vocab()
    gate = translated(reverser(TOKENIZER), reverser(words, seed=1), words).metrics["gates"]["seeds"]
    assert gate["value"] == 1.0


def test_a_model_that_looks_elsewhere_turns_the_gate_red() -> None:
    torch.manual_seed(5)
    found = translated(reverser(TOKENIZER), build(config(len(TOKENIZER))))
    assert found.metrics["gates"]["seeds"]["passed"] is False
    assert found.metrics["conclusion"][-1] == (
        "All this holds for this one model: another one is explained differently on the same data."
    )


def of_places(encoder_self: str, cross: str) -> Model:
    names = {"encoder_self": encoder_self, "decoder_self": "scaled_dot_product", "cross": cross}
    torch.manual_seed(4)
    return build(config(len(TOKENIZER), mechanisms={place: {"name": name} for place, name in names.items()}))


def test_a_place_without_weights_leaves_the_weights_of_another() -> None:
    found = translated(of_places("fnet", "scaled_dot_product"), None)
    assert found.metrics["methods"]["weights"]["reason"] is None
    assert "fnet has no attention weights" in found.metrics["methods"]["rollout"]["reason"]
    gate = translated(reverser(TOKENIZER), of_places("fnet", "scaled_dot_product")).metrics["gates"]["seeds"]
    assert gate["value"] is not None


def test_a_model_that_reads_no_row_at_once_is_not_compared() -> None:
    gate = translated(reverser(TOKENIZER), build(config(len(TOKENIZER), positions=4))).metrics["gates"]["seeds"]
    assert (gate["value"], gate["passed"]) == (None, None)
    assert "There is no row" in gate["sentence"]


def test_without_gold_the_first_variant_is_compared() -> None:
    tokenizer = tokenizer_of([" ".join(WORDS)])
    generator = np.random.default_rng(0)
    tables = {}
    for name in ("valid", "test"):
        texts = [" ".join(generator.choice(WORDS, int(generator.integers(3, 9)))) for _ in range(13)]
        rows = [f"{name}.csv:{number}" for number in range(13)]
        tables[name] = pd.DataFrame({"row": rows, "split": name, "text": texts, "true_nats": 5.0})
    encoded = {name: encoded_of(table, "generation", tokenizer, []) for name, table in tables.items()}
    torch.manual_seed(3)
    model = build(config(len(tokenizer), architecture="decoder", task="generation"))
    told = tables["test"][["row", "text"]].assign(prediction="red green", nats=3.0, tokens=4)
    found = interpret(
        model, "generation", encoded, tables, told, tokenizer, SHAPES["generation"], OPTIONS,
        seed=1, device="cpu", beside=Another(Path("inputs/other"), model, tokenizer, None),
    )  # fmt: skip
    assert found.metrics["gates"]["seeds"]["value"] == 1.0


def test_a_model_is_read_from_where_it_lies_or_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"interpret\.beside: .* holds no trained model; copy"):
        another.read(tmp_path, "translation", "cpu")
    save(build(config(len(TOKENIZER))), tmp_path)
    vocabulary.save(TOKENIZER, tmp_path)
    found = another.read(tmp_path, "translation", "cpu")
    assert found.tokenizer.get_vocab() == TOKENIZER.get_vocab()
    assert found.target_tokenizer is None
    with pytest.raises(InputError, match="trained for translation, this one for sentiment"):
        another.read(tmp_path, "sentiment", "cpu")
