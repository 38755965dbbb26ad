"""The study of a model's explanations: methods measured, gates, heads, and conclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from attention_lab.attention import Place
from attention_lab.interpretation import explained, heads, measures, trust
from attention_lab.interpretation.another import Another
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.conclusion import conclude
from attention_lab.interpretation.explained import Gold
from attention_lab.interpretation.findings import Attribution, Gate, Head, Placed
from attention_lab.interpretation.methods import METHODS, why_not
from attention_lab.interpretation.subject import Subject

CHECKED = 8  # rows whose weights are replayed in the model
HAS_GOLD = ("alignment", "rationale", "salient", "support")  # gold that says what a model should attend to


@dataclass(frozen=True)
class Study:
    """The results of a study.

    metrics: its part of metrics/interpret.json, by key. heads: by place. attributions: of rows that the report shows,
    by name. shares: see `explained.shares_of_source`, for the same rows. layers: what individual layers do with these
    rows. variants: the chosen variant of each method.
    """

    metrics: dict[str, Any]
    heads: dict[Place, list[Head]] = field(default_factory=dict)
    attributions: dict[str, list[Attribution]] = field(default_factory=dict)
    shares: dict[str, np.ndarray] = field(default_factory=dict)
    layers: dict[str, Sequence[Placed]] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)


def study(subject: Subject, shown: Mapping[str, Sequence[str]], another: Another | None = None) -> Study:
    """Explain rows of both splits by every method; choose on valid, measure on test, and check with gates.

    Args:
        shown: names of the rows, by split, that the report shows; these are explained as well.
        another: a model whose explanations of the same rows are compared.

    Raises:
        InputError: gold refers to a word that does not exist.
    """
    options, seed, config = subject.options, subject.seed, subject.model.config
    rows, gold = _rows(subject)
    if rows["test"].empty:
        said = "No row of the test split was read whole, so nothing can be said about explanations."
        return Study({"methods": {}, "gates": {}, "heads": {}, "head_agreement": {}, "conclusion": [said]})
    batches = {split: subject.asked(of_split, split) for split, of_split in rows.items()}
    some = _some(batches["test"], options.checked_rows)
    to_show = [asked for split, names in shown.items() for asked in _named(subject, split, names)]
    total = sum(len(of_split) for of_split in rows.values()) + sum(len(asked.names) for asked in to_show)
    with tqdm(total=total, desc="explain", unit="row", mininterval=1.0) as bar:
        valid, test = (
            explained.with_controls(explained.explain(batches[split], options.steps, done=bar.update), gold, seed)
            for split in ("valid", "test")
        )
        found = explained.table(
            valid, test, gold, config, resamples=options.bootstrap, seed=seed, words=options.explained_words
        )
        examples = explained.explain(to_show, options.steps, done=bar.update, layers=True)
        bar.set_postfix_str("heads and gates")
        of_heads = heads.found_in(subject.model, some, resamples=options.bootstrap, seed=seed)
        randomised, steps = trust.randomised_model(subject.model, some, found, gold, steps=options.steps, seed=seed)
        gates = [
            *trust.against_controls(found),
            trust.other_example(test, found),
            randomised,
            trust.permuted_weights(batches["test"], config, seed),
            trust.uniform_weights(batches["test"], config),
            trust.completeness(test.sums),
            _replayed(subject, rows["test"], some),
            trust.ONE_MODEL if another is None else _stability(subject, another, rows, gold, found, test),
        ]
    agreement = heads.agreement(of_heads)
    return Study(
        metrics={
            "methods": found.rows,
            "best_method": found.best,
            "gates": {gate.name: _plain(gate) for gate in gates},
            "randomised": steps,
            "heads": {place: [_plain(head) for head in of_place] for place, of_place in of_heads.items()},
            "head_agreement": agreement,
            "conclusion": conclude(found, {gate.name: gate for gate in gates}, agreement),
        },
        heads=of_heads,
        attributions=explained.attributions(examples, found.variants, config),
        shares=explained.shares_of_source(to_show),
        layers=dict(zip(examples.names, examples.placed, strict=True)),
        variants=found.variants,
    )


def _rows(subject: Subject) -> tuple[dict[str, pd.DataFrame], Gold | None]:
    """Rows to explain, by split: those with gold if both splits have some, otherwise test rows only."""
    whole = {split: subject.whole(split) for split in ("valid", "test")}
    if whole["test"].empty:
        return whole, None
    most = min(subject.options.explained_rows, int(subject.options.explained_tokens / _tokens(subject, whole["test"])))
    limits = {"valid": max(1, -(-most // 2)), "test": max(1, most)}
    if subject.shape.gold in HAS_GOLD:
        known = {split: rows[rows["row"].isin(subject.gold(split).keys())] for split, rows in whole.items()}
        if all(len(rows) for rows in known.values()):
            gold = Gold(
                subject.shape.gold,
                subject.gold("valid") | subject.gold("test"),
                subject.gold("valid", "possible") | subject.gold("test", "possible"),
            )
            return {split: subject.drawn(rows, limits[split]) for split, rows in known.items()}, gold
    return {"valid": whole["valid"].iloc[:0], "test": subject.drawn(whole["test"], limits["test"])}, None


def _tokens(subject: Subject, rows: pd.DataFrame) -> float:
    """The mean number of tokens read and written per row; a language model both reads and writes each token."""
    names = ["source", "source"] if subject.shape.truth is None else ["source", "target"]
    return float(sum(rows[name].map(len).mean() for name in names if name in rows))


def _some(batches: Sequence[Asked], rows: int) -> list[Asked]:
    """Batches with together at least this many rows, or all. Batches are sorted from long rows to short, so middle ones
    are taken first."""
    middle = (len(batches) - 1) / 2
    found: list[Asked] = []
    for _, asked in sorted(enumerate(batches), key=lambda numbered: abs(numbered[0] - middle)):
        if sum(len(other.names) for other in found) < rows:
            found.append(asked)
    return found


def _named(subject: Subject, split: str, names: Sequence[str]) -> list[Asked]:
    rows = subject.whole(split)
    return subject.asked(subject.affordable(rows[rows["row"].isin(names)]), split)


def _replayed(subject: Subject, rows: pd.DataFrame, some: Sequence[Asked]) -> Gate:
    names = some[0].names[:CHECKED]
    collected = list(subject.look(rows[rows["row"].isin(names)], "test"))
    return trust.replayed_weights(some[0], collected, subject.model.config)


def _stability(
    subject: Subject,
    another: Another,
    rows: Mapping[str, pd.DataFrame],
    gold: Gold | None,
    table: explained.Table,
    test: explained.Explained,
) -> Gate:
    """Compare the two models by the method to read first, or the next one that is defined for the other model too."""
    method = next(name for name in trust.read_first(table) if not why_not(METHODS[name], another.model.config))
    own = dict(zip(test.names, test.scores[method][table.variants[method]], strict=True))
    other = another.scores(subject, rows, method, gold)
    return trust.stability(own, other, method, another.named, goes_on=measures.goes_on(test.batches[0]))


def _plain(found: Gate | Head) -> dict[str, Any]:
    told = {name: value for name, value in asdict(found).items() if name not in ("name", "place") or value is None}
    ends = told.pop("ends", {})
    return told | {f"{name}_{end}": two[at] for name, two in ends.items() for at, end in enumerate(("low", "high"))}
