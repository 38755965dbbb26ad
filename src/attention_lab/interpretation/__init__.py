"""Interpreting attention: compared with known truth, drawn, and described in plain sentences.

    model, encoded rows, gold → weights per row → words → alignment error rate | average precision → report

`weights.py` reads the weights, `alignment.py` and `rationale.py` measure them, `pictures.py` and `report.py` show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast

from attention_lab import device as devices
from attention_lab import encoding, vocabulary
from attention_lab import records as tables
from attention_lab.attention import Place
from attention_lab.interpretation import alignment, another, explained, rationale
from attention_lab.interpretation.another import Another
from attention_lab.interpretation.examples import Example, choose, describe
from attention_lab.interpretation.findings import Head
from attention_lab.interpretation.listing import jsonl
from attention_lab.interpretation.methods import looked_at
from attention_lab.interpretation.pictures import plots
from attention_lab.interpretation.report import Shown, render
from attention_lab.interpretation.study import Study, study
from attention_lab.interpretation.subject import Subject, openings
from attention_lab.interpretation.traces import cut, traces
from attention_lab.interpretation.viewer import Scores
from attention_lab.params import Interpret, Params
from attention_lab.records import Shape
from attention_lab.transformer import Config, Model, load

__all__ = ["Example", "Interpretation", "Shown", "facts", "interpret", "render", "run"]


# What a reader needs to know about weights that are not probabilities.
KINDS = {
    "weights": ["The weights of this mechanism need not sum to 1: a query may look at little, or at nothing."],
    "signed": ["The weights of this mechanism can be negative: a value may be subtracted, so they are not shares."],
    "effective": [
        "This mechanism computes no weights. Shown are its effective weights, its output written as a sum over values: "
        "they can be negative and need not sum to 1, so they are not shares."
    ],
}


@dataclass(frozen=True)
class Interpretation:
    """The result of interpreting a model.

    metrics: the content of metrics/interpret.json; plots: PNG files by name, without ".png"; examples: for the report;
    known, own: scores of the examples, for the reference and for the model's own output; heads: by place; listing: JSON
    lines of all scores, see `listing.jsonl`, empty until `run` makes it.
    """

    metrics: dict[str, Any]
    plots: dict[str, bytes]
    examples: list[Example]
    known: Scores = field(default_factory=Scores)
    own: Scores = field(default_factory=Scores)
    heads: Mapping[Place, list[Head]] = field(default_factory=dict)
    listing: bytes = b""


def run(
    options: Params, model: Path, encoded: Path, split: Path, predictions: Path
) -> tuple[Interpretation, Shown]:  # fmt: skip
    """Run the interpret stage: read what earlier stages have written, measure and draw.

    Args:
        options: params.yaml with seed, task and interpret.
        model, encoded, split, predictions: folders.

    Returns:
        The result, and what the report shows of it.

    Raises:
        InputError: a file is missing or of another task, gold refers to a word that does not exist, or
            `interpret.beside` is not a model of the same task.
    """
    device = devices.choose("auto")
    devices.prepare(device)
    trained, shape = load(model, device, options.task), tables.SHAPES[options.task]
    folder = options.interpret.beside
    beside = None if folder is None else another.read(Path(folder), options.task, device)
    found = interpret(
        trained,
        options.task,
        {name: encoding.read(encoded / f"{name}.arrow", shape) for name in ("valid", "test")},
        {name: tables.read(split / f"{name}.parquet", shape) for name in ("valid", "test")},
        tables.read(predictions / "predictions.parquet", shape),
        vocabulary.load(model),
        shape,
        options.interpret,
        seed=options.seed,
        device=device,
        target_tokenizer=vocabulary.load_target(model),
        beside=beside,
    )
    shown = Shown(found.metrics, found.examples, facts(trained), known=found.known, own=found.own)
    return replace(found, listing=jsonl(found.examples, found.known, found.own)), shown


def facts(model: Model) -> dict[str, str]:
    """The facts about a model that the page shows, as names and values."""
    config = model.config
    sizes = [config.vocabulary] + [config.target_vocabulary] * (config.target_vocabulary is not None)
    return {
        "task": config.task,
        "mechanism": config.mechanism_name,
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "layers": " + ".join(str(layers) for layers in _layers(config)),
        "heads, width": f"{config.heads}, {config.width}",
        "vocabulary": " + ".join(f"{size:,}" for size in sizes) + " tokens",
    }


def _layers(config: Config) -> list[int]:
    """Numbers of layers of the encoder and of the decoder, as far as the model has them."""
    reads, writes = "encoder_self" in config.places, "decoder_self" in config.places
    return [config.layers] * reads + [config.decoder_layers] * writes


def interpret(
    model: Model,
    task_name: str,
    encoded: Mapping[str, pd.DataFrame],
    records: Mapping[str, pd.DataFrame],
    predictions: pd.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    options: Interpret,
    *,
    seed: int,
    device: torch.device | str,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
    beside: Another | None = None,
) -> Interpretation:
    """Measure a model's attention against the gold column and choose examples to show.

    Layer and head, or the method, are chosen on the valid split and measured on the test split. Rows that encoding
    has cut are left out; of a text that a language model reads in windows, the first is shown. Without gold in both
    splits the metric is None, and `reason` says why.

    Args:
        encoded, records: tables by split, "valid" and "test", joined on `row`.
        predictions: `row`, `prediction` and possibly `probability`, for rows of one of the two splits.
        options: how many rows to measure, how many examples to show, and so on.
        seed: for drawing rows, examples, random baselines and bootstrap samples.
        target_tokenizer: the target's own tokenizer; None: `tokenizer` is for both.
        beside: another model of the same data, whose explanations are compared.

    Raises:
        InputError: gold refers to a word that does not exist.
    """
    pairs = {name: openings(encoded[name], records[name], tokenizer, shape) for name in encoded}
    encoded, records = ({name: pair[at] for name, pair in pairs.items()} for at in (0, 1))
    data = Subject(model, encoded, records, tokenizer, shape, options, seed, device, target_tokenizer)
    place = looked_at(model.config)
    kind = model.config.mechanism(place).weights
    measure = MEASURES.get(shape.gold)
    measured = measure(data) if measure else None
    reason = None if measured else _reason(data)
    reading: list[str] = []
    if measured:
        reading = alignment.reading(measured) if shape.gold == "alignment" else rationale.reading(measured, shape.gold)
    judge = alignment if shape.gold == "alignment" else rationale
    metrics = {
        "task": task_name,
        "mechanism": model.config.mechanisms[place].name,
        "weights": kind,
        **({shape.gold: measured} if measure else {}),
        "reason": reason,
        "sentences": [
            judge.sentence(measured) if measured else f"{shape.gold if measure else 'attention'} not measured: {reason}"
        ],
        "reading": [*reading, *KINDS.get(kind, [])],
    }
    shown = _examples(data, predictions, measured, options.examples)
    split = _predicted(data, predictions)
    found = study(data, {split: [example.row for example in shown]}, beside)
    metrics |= found.metrics
    known = Scores(found.attributions, found.shares, found.layers)
    own = _of_own_output(data, split, shown, found)
    return Interpretation(metrics, plots(metrics, shown, shape.gold), shown, known, own, found.heads)


def _predicted(data: Subject, predictions: pd.DataFrame) -> str:
    """The split that the predictions belong to."""
    return "test" if predictions["row"].isin(data.records["test"]["row"]).any() else "valid"


def _alignment(data: Subject) -> dict[str, Any] | None:
    valid = _aligned(data, "valid", data.options.valid_rows)
    test = _aligned(data, "test", data.options.test_rows)
    return alignment.measure(valid, test, resamples=data.options.bootstrap, seed=data.seed) if valid and test else None


def _aligned(data: Subject, split: str, limit: int) -> alignment.Counts | None:
    return alignment.count(data.known(split, limit), data.gold(split), data.gold(split, "possible"))


def _rationale(data: Subject) -> dict[str, Any] | None:
    config, limits = data.model.config, {"valid": data.options.valid_rows, "test": data.options.test_rows}
    shares = config.mechanism(config.places[0]).weights == "probabilities"
    valid, test = (
        rationale.count(data.known(split, limit), data.gold(split), shares=shares, seed=data.seed)
        for split, limit in limits.items()
    )
    return rationale.measure(valid, test, resamples=data.options.bootstrap, seed=data.seed) if valid and test else None


# The measures by gold column; a language model's data has none.
MEASURES: dict[str, Callable[[Subject], dict[str, Any] | None]] = {
    "alignment": _alignment,
    "rationale": _rationale,
    "salient": _rationale,
    "support": _rationale,
}


def _reason(data: Subject) -> str:
    if data.shape.gold not in MEASURES:
        return "nobody knows where a language model should look"
    for split in ("valid", "test"):
        known = data.gold(split).keys()
        if not known:
            return f"no row of the {split} split says where to look (column {data.shape.gold})"
        if not data.whole(split)["row"].isin(known).any():
            return f"every row of the {split} split that says where to look was cut by encoding"
    return "the mechanism has no weights"


def _examples(data: Subject, predictions: pd.DataFrame, measured: dict[str, Any] | None, number: int) -> list[Example]:
    """Examples from the split that was predicted, with the weights that were measured."""
    split = _predicted(data, predictions)
    encoded = data.whole(split)
    told = predictions[predictions["row"].isin(encoded["row"])].reset_index(drop=True)
    if told.empty:
        return []
    truth = data.shape.truth or data.shape.source
    texts = data.records[split].set_index("row")
    told = told.assign(
        reference=texts.loc[told["row"], truth].map(tables.spelled).to_numpy(),
        prediction=told["prediction"].map(tables.spelled),
    )
    right = (told["prediction"] == told["reference"]).to_numpy()
    words = texts.loc[told["row"], list(data.shape.texts)].map(lambda text: len(text.split(" "))).max(axis=1)
    names = choose(told, right, words.to_numpy(), number, data.seed)
    records, answers = texts.to_dict("index"), told.set_index("row").to_dict("index")
    gold = data.gold(split) if data.shape.gold in MEASURES else {}
    chosen = encoded[encoded["row"].isin(names)]
    ids = chosen.set_index("row").to_dict("index")
    found = {}
    for row in data.look(chosen, split):
        record, answer = records[row.row], answers[row.row]
        said = answer["prediction"]
        seen = traces(
            data.model, ids[row.row], record, said, data.tokenizer, data.shape, data.device, data.target_tokenizer
        )
        example = describe(row, record, answer, gold.get(row.row), data.shape, measured)
        found[row.row] = replace(example, traces=seen)
    return [found[name] for name in names]


def _of_own_output(data: Subject, split: str, shown: Sequence[Example], found: Study) -> Scores:
    """Scores of examples whose output differs from the reference, computed for the model's own output."""
    said = {one.row: one.prediction for one in shown if any(trace.of == "output" for trace in one.traces)}
    if not said or not found.variants:
        return Scores()
    rows, records = data.whole(split), data.records[split]
    rows, records = rows[rows["row"].isin(said)].copy(), records[records["row"].isin(said)].copy()
    written = data.target_tokenizer or data.tokenizer
    ids = [cut(said[row], written, data.model.config) for row in rows["row"]]
    rows["source" if data.shape.target is None else "target"] = pd.Series(ids, index=rows.index, dtype=object)
    records[data.shape.target or data.shape.source] = records["row"].map(said)
    told = replace(data, encoded={split: rows}, records={split: records})
    batches = told.asked(told.affordable(rows), split)
    looked = explained.explain(batches, data.options.steps, layers=True)
    return Scores(
        explained.attributions(looked, found.variants, data.model.config),
        explained.shares_of_source(batches),
        dict(zip(looked.names, looked.placed, strict=True)),
    )
