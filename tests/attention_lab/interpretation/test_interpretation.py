"""From model and tables to metrics, pictures and page, on models that were made and not trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import PARAMS, WORDS, Reverser, config, encoded_of, reversed_records, tokenizer_of

from attention_lab import encoding, interpretation, metrics, records, vocabulary
from attention_lab.attention import PLACES
from attention_lab.errors import InputError
from attention_lab.explanation.page import report
from attention_lab.interpretation import Interpretation, interpret
from attention_lab.interpretation.measures import CONTROLS
from attention_lab.interpretation.methods import METHODS
from attention_lab.interpretation.report import NOT_MEASURED
from attention_lab.params import Interpret
from attention_lab.records import SHAPES
from attention_lab.transformer import build, save

Parts = tuple[Reverser, Any, dict[str, pd.DataFrame], dict[str, pd.DataFrame]]


def parts() -> Parts:
    """(model, tokenizer, encoded, records) with two splits."""
    torch.manual_seed(0)
    records = {"valid": reversed_records(11, 1, "valid"), "test": reversed_records(13, 2, "test")}
    tokenizer = tokenizer_of([" ".join(WORDS), *records["valid"]["source"]])
    model = Reverser(config(len(tokenizer))).eval()
    return model, tokenizer, {k: encoded_of(v, "translation", tokenizer, []) for k, v in records.items()}, records


@pytest.fixture
def reverser() -> Parts:
    return parts()


@pytest.fixture(scope="module")
def once() -> Interpretation:
    """What is found of it, with options that are enough for most tests."""
    return translated(parts())


@pytest.fixture
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take as long as what is looked at by a test without them."""
    monkeypatch.setattr(interpretation, "plots", lambda *given: {})


def looking(examples: int, explained: int = 2) -> Interpret:
    return Interpret(
        examples=examples,
        valid_rows=500,
        test_rows=2000,
        explained_rows=explained,
        explained_tokens=500,
        explained_pairs=4000,
        explained_words=2,
        checked_rows=explained,
        steps=2,
        bootstrap=100,
        beside=None,
    )


def predictions_of(table: pd.DataFrame) -> pd.DataFrame:
    """What the evaluate stage would write, every third row wrong."""
    said = [text if i % 3 else "red" for i, text in enumerate(table["target"])]
    return table.drop(columns="split").assign(prediction=said)


def translated(parts: Parts, **changes: Any) -> Interpretation:
    model, tokenizer, encoded, tables = parts
    values = {"options": looking(4), "seed": 1, "device": "cpu"} | changes
    shape = SHAPES["translation"]
    return interpret(
        model, "translation", encoded, tables, predictions_of(tables["test"]), tokenizer, shape, **values
    )  # fmt: skip


@pytest.mark.parametrize("late", [False, True])
def test_the_planted_alignment_is_found_end_to_end(once: Interpretation, reverser: Parts, late: bool) -> None:
    reverser[0].late = late
    found = translated(reverser) if late else once
    alignment = found.metrics["alignment"]
    assert alignment["error_rate"] == 0.0
    assert alignment["layer"] == 2
    assert alignment["head"] == "mean"  # which has the maxima of head 3, the others being even; ties go to it
    assert alignment["row"] == ("input" if late else "predicting")
    assert alignment["grid"][late][1][3] == 0.0
    assert alignment["sentences"] == 13
    assert alignment["chosen_on"] == 11
    assert alignment["random"] > 0.6
    assert alignment["diagonal"] > 0.6
    json.dumps(found.metrics, allow_nan=False)
    assert set(found.plots) == {"cross_attention", "alignment_by_head", "all_heads"}
    for example in found.examples:
        assert example.weights is not None
        assert example.gold is not None
        assert (example.weights.argmax(-1) == example.gold.argmax(-1)).all()
        assert ("its own output" in example.shown) == example.right
    assert [example.right for example in found.examples] == [False, False, True, True]


@pytest.mark.usefixtures("_no_pictures")
def test_methods_gates_heads_and_a_conclusion_are_told(reverser: Parts) -> None:
    found = translated(reverser, options=looking(4, explained=9))
    methods, gates = found.metrics["methods"], found.metrics["gates"]
    assert set(methods) == {*METHODS, *CONTROLS}
    for name, row in methods.items():
        assert row["reason"] is None
        assert row.get("control", False) == (name in CONTROLS)
        for figure in ("alignment_error_rate", "comprehensiveness", "sufficiency"):
            assert row[f"{figure}_low"] <= row[figure] <= row[f"{figure}_high"]
    assert methods["weights"]["alignment_error_rate"] == 0.0
    assert found.metrics["best_method"] in ("weights", "norm")  # the second sees the same weights
    assert all(gates[name]["passed"] for name in ("random", "constant", "oracle", "replayed_weights", "other_example"))
    assert gates["randomised_model"]["passed"] is False  # what is planted stays, whatever the parameters are
    assert gates["seeds"]["passed"] is None
    assert any("untrained model gives scores that are as good" in told for told in found.metrics["conclusion"])
    assert {place: len(of_place) for place, of_place in found.metrics["heads"].items()} == dict.fromkeys(PLACES, 6)
    for head in (one for of_place in found.metrics["heads"].values() for one in of_place):
        for name in ("entropy", "importance", "ablation", "patching"):
            assert head[f"{name}_low"] <= head[name] <= head[f"{name}_high"]
    for example in found.examples:
        said = found.known.attributions[example.row]
        assert [one.method for one in said] == list(METHODS)
        shape = (len(example.queries), len(example.keys))
        assert all(
            one.scores is not None and one.scores.shape == shape for one in found.known.attributions[example.row]
        )
        shares = found.known.shares[example.row]
        assert len(shares) == len(example.queries) + 1  # and </s>
        assert ((shares >= 0.0) & (shares <= 1.0)).all()
        assert len(set(shares.tolist())) > 1
    # Of an output that is not the reference, here the one word "red", the methods say something too.
    assert found.own.attributions.keys() == {example.row for example in found.examples if not example.right}
    for row, of_own in found.own.attributions.items():
        words = next(len(example.keys) for example in found.examples if example.row == row)
        assert all(one.scores is not None and one.scores.shape == (1, words) for one in of_own)
        assert len(found.own.shares[row]) == 2  # red and </s>


@pytest.mark.usefixtures("_no_pictures")
def test_possible_links_are_no_errors(reverser: Parts) -> None:
    """With every second link taken from the sure ones and called possible, nothing that is found is wrong."""
    model, tokenizer, encoded, tables = reverser
    split = {
        name: table.assign(
            possible=[links[1::2] for links in table["alignment"]],
            alignment=[links[::2] for links in table["alignment"]],
        )
        for name, table in tables.items()
    }
    strict = {name: table.drop(columns="possible") for name, table in split.items()}
    found = translated((model, tokenizer, encoded, split))
    assert found.metrics["alignment"]["error_rate"] == 0.0
    assert found.metrics["methods"]["weights"]["alignment_error_rate"] == 0.0
    assert translated((model, tokenizer, encoded, strict)).metrics["alignment"]["error_rate"] > 0.2


@pytest.mark.usefixtures("_no_pictures")
def test_an_untrained_model_does_not_align(reverser: Parts) -> None:
    _, tokenizer, encoded, tables = reverser
    plain = build(config(len(tokenizer)))
    found = translated((plain, tokenizer, encoded, tables))  # type: ignore[arg-type]
    assert found.metrics["alignment"]["error_rate"] > 0.3


def test_the_same_twice(once: Interpretation, reverser: Parts) -> None:
    first, second = once, translated(reverser)
    assert first.metrics == second.metrics
    assert first.plots == second.plots
    assert [e.row for e in first.examples] == [e.row for e in second.examples]


def test_rows_that_encoding_has_cut_or_dropped_are_left_out(reverser: Parts) -> None:
    model, tokenizer, encoded, tables = reverser
    cut = encoded["test"].copy()
    cut.loc[0, "truncated"] = True
    found = translated((model, tokenizer, {**encoded, "test": cut[:-1]}, tables))
    assert found.metrics["alignment"]["sentences"] == 11
    every = {**encoded, "test": encoded["test"].assign(truncated=True)}
    found = translated((model, tokenizer, every, tables))
    assert found.metrics["alignment"] is None
    assert "cut by encoding" in found.metrics["reason"]
    assert found.examples == []
    assert found.plots == {}


def test_without_gold_the_metric_is_null_with_a_reason(reverser: Parts) -> None:
    model, tokenizer, encoded, tables = reverser
    bare = {name: table.assign(alignment=None) for name, table in tables.items()}
    found = translated((model, tokenizer, encoded, bare))
    assert found.metrics["alignment"] is None
    assert found.metrics["reason"] == "no row of the valid split says where to look (column alignment)"
    assert found.metrics["sentences"] == [f"alignment not measured: {found.metrics['reason']}"]
    assert all(example.gold is None and example.weights is not None for example in found.examples)
    assert set(found.plots) == {"cross_attention", "all_heads"}


@pytest.mark.usefixtures("_no_pictures")
def test_predictions_of_the_valid_split(reverser: Parts) -> None:
    model, tokenizer, encoded, tables = reverser
    found = interpret(
        model, "translation", encoded, tables, predictions_of(tables["valid"]), tokenizer, SHAPES["translation"],
        options=looking(3), seed=1, device="cpu",
    )  # fmt: skip
    assert all(example.row.startswith("valid.csv") for example in found.examples)


def sentiment(rows: int, seed: int, name: str, tokenizer: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(seed)
    texts = [" ".join(generator.choice(WORDS, int(generator.integers(3, 9)))) for _ in range(rows)]
    frame = pd.DataFrame(
        {
            "row": [f"{name}.csv:{i + 1}" for i in range(rows)],
            "split": name,
            "text": texts,
            "label": [("bad", "good")[i % 2] for i in range(rows)],
            "rationale": [[i % 3] if i % 5 else None for i in range(rows)],
        }
    )
    return frame, encoded_of(frame, "sentiment", tokenizer, ["bad", "good"])


def written(name: str, tokenizer: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    generator = np.random.default_rng(len(name))
    texts = [" ".join(generator.choice(WORDS, int(generator.integers(3, 9)))) for _ in range(13)]
    rows = [f"{name}.csv:{number}" for number in range(13)]
    frame = pd.DataFrame({"row": rows, "split": name, "text": texts, "true_nats": 5.0})
    return frame, encoded_of(frame, "generation", tokenizer, [])


def test_a_language_model_end_to_end() -> None:
    tokenizer = tokenizer_of([" ".join(WORDS)])
    parts = {name: written(name, tokenizer) for name in ("valid", "test")}
    tables, encoded = ({name: part[i] for name, part in parts.items()} for i in (0, 1))
    torch.manual_seed(3)
    model = build(config(len(tokenizer), architecture="decoder", task="generation"))
    told = tables["test"][["row", "text"]].assign(nats=3.0, tokens=4)
    told["prediction"] = told["text"].map(lambda text: f"{text.split()[0]} twice twice")
    found = interpret(
        model, "generation", encoded, tables, told, tokenizer, SHAPES["generation"],
        options=looking(5), seed=1, device="cpu",
    )  # fmt: skip
    assert found.metrics["sentences"] == ["attention not measured: nobody knows where a language model should look"]
    assert found.metrics["weights"] == "probabilities"
    assert set(found.plots) == {"self_attention", "all_heads"}
    assert len(found.examples) == 5
    for example in found.examples:
        assert example.right is None
        assert example.queries == example.keys == example.source.split(" ")
        assert (np.triu(example.weights, 1) == 0.0).all()  # nothing looks ahead
        assert (np.diag(example.weights) > 0.0).all()
    evaluate = {
        "task": "generation", "split": "test", "examples": 13, "score": 0.4, "score_name": "character_probability",
        "score_low": 0.3, "score_high": 0.5, "baseline": {"what": "frequencies", "character_probability": 0.05},
    }  # fmt: skip
    shown = interpretation.Shown(found.metrics, found.examples, {"task": "generation"})
    page = interpretation.render([shown], evaluate=evaluate)
    assert "it went on" in page
    assert "<mark>twice</mark> <mark>twice</mark>" in page  # its own words, and not the one it was given
    assert not any(f"<mark>{word}</mark>" in page for word in WORDS)


def test_a_classifier_end_to_end() -> None:
    tokenizer = tokenizer_of([" ".join(WORDS)])
    tables, encoded = {}, {}
    for seed, name in enumerate(("valid", "test")):
        tables[name], encoded[name] = sentiment(20, seed, name, tokenizer)
    torch.manual_seed(3)
    model = build(config(len(tokenizer), architecture="classifier", task="sentiment", labels=("bad", "good")))
    told = tables["test"][["row", "text", "label"]].assign(prediction="good", probability=0.7)
    found = interpret(
        model,
        "sentiment",
        encoded,
        tables,
        told,
        tokenizer,
        SHAPES["sentiment"],
        options=looking(4),
        seed=1,
        device="cpu",
    )
    rationale = found.metrics["rationale"]
    assert rationale["texts"] == 16  # every fifth has no gold
    assert 0.0 < rationale["low"] <= rationale["average_precision"] <= rationale["high"] <= 1.0
    assert set(rationale["methods"]) == {"attention layer 1", "attention layer 2", "rollout"}
    assert set(found.plots) == {"rationale", "all_heads"}
    assert [example.right for example in found.examples] == [False, False, True, True]
    assert all(example.probability == 0.7 for example in found.examples)
    json.dumps(found.metrics, allow_nan=False)


def test_the_stage_reads_files_and_renders_the_report(reverser: Parts, tmp_path: Path) -> None:
    model, tokenizer, encoded, tables = reverser
    save(model, tmp_path / "model")
    vocabulary.save(tokenizer, tmp_path / "model")
    for name in ("valid", "test"):
        encoding.write(encoded[name], tmp_path / "encoded" / f"{name}.arrow")
        records.write(tables[name], tmp_path / "split" / f"{name}.parquet")
    records.write(predictions_of(tables["test"]), tmp_path / "predictions" / "predictions.parquet")
    folders = [tmp_path / name for name in ("model", "encoded", "split", "predictions")]
    with pytest.raises(InputError, match=r"evaluate\.json is missing; `dvc repro evaluate` makes it"):
        metrics.read(tmp_path / "evaluate.json", "evaluate")
    metrics.write(
        {"split": "test", "examples": 13, "score": 50.0, "score_name": "bleu", "score_low": 40.0, "score_high": 60.0},
        tmp_path / "evaluate.json",
    )
    evaluate = metrics.read(tmp_path / "evaluate.json", "evaluate")
    options = PARAMS.model_copy(update={"interpret": looking(3)})
    found, shown = interpretation.run(options, *folders)
    page = report(shown, evaluate, tmp_path / "model", None)
    assert "BLEU 50.0 on 13 test examples." in page
    assert "<dd>scaled_dot_product</dd>" in page
    assert str(tmp_path) not in page
    assert found.metrics["alignment"]["sentences"] == 13
    assert found.metrics["gates"]["seeds"]["passed"] is None
    beside = looking(3).model_copy(update={"beside": str(tmp_path / "model")})
    found, shown = interpretation.run(options.model_copy(update={"interpret": beside}), *folders)
    assert found.metrics["gates"]["seeds"]["value"] == 1.0
    page = report(shown, evaluate, tmp_path / "model", str(tmp_path / "model"))
    index = json.loads(page.split('id="index">')[1].split("</script>")[0])
    assert [model["folder"] for model in index["models"]] == [str(tmp_path / "model")] * 2
    first, second = (model["trust"] for model in index["models"])
    assert set(first) > {"attention"}
    assert second == {"attention": NOT_MEASURED}
    assert [len(example["said"]) for example in index["examples"]] == [2] * len(shown.examples)
    assert page.count('id="example-') == 2 * len(shown.examples)
    assert f"What follows was measured on <strong>{tmp_path / 'model'}</strong> alone." in page
