"""Pages of the report's kind by one model or by two side by side: for texts of one's own, without what only a whole
test set can tell, and the report itself, with another model beside the one that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_lab.explanation.told import Told, tell
from attention_lab.explanation.words import Answer
from attention_lab.inference import Predictor
from attention_lab.interpretation import KINDS, Shown, explained, facts, render
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.methods import METHODS, looked_at
from attention_lab.interpretation.traces import Trace, traces
from attention_lab.interpretation.viewer import Scores
from attention_lab.interpretation.weights import readers_of
from attention_lab.records import SHAPES


def page(told: Sequence[Told]) -> str:
    """The HTML page, of one model or of two that were told the same texts."""
    return render([_shown(one, named=len(told) > 1) for one in told], evaluate=None)


def report(measured: Shown, evaluate: Mapping[str, Any], model: Path, beside: str | None) -> str:
    """The page of the interpret stage.

    Args:
        measured: what was found. evaluate: the content of metrics/evaluate.json. model: its folder.
        beside: the folder of another model, which is asked about the same examples; None: there is none.
    """
    if beside is None:
        return render([measured], evaluate=evaluate)
    texts = [example.inputs for example in measured.examples]
    (told,) = tell([Path(beside)], texts, measured={}, method=measured.method, every=True)
    other = _shown(told, named=True)
    pairs = list(zip(other.examples, measured.examples, strict=True))
    rows = {own.row: first.row for own, first in pairs}
    known = other.known
    scores = Scores(
        {rows[row]: found for row, found in known.attributions.items()},
        {rows[row]: found for row, found in known.shares.items()},
    )
    beside_it = replace(other, examples=[_judged(*pair) for pair in pairs], known=scores, own=scores)
    return render([replace(measured, folder=str(model)), beside_it], evaluate=evaluate)


def _judged(own: Example, first: Example) -> Example:
    """What another model says of an example, with the truth about it. Known links are left out: they are of words that
    it may not have written."""
    right = None if first.right is None else own.prediction == first.reference
    gold = None if own.queries or own.keys != first.keys else first.gold
    return replace(own, row=first.row, reference=first.reference, right=right, gold=gold)


def _shown(told: Told, *, named: bool) -> Shown:
    config = told.predictor.model.config
    mechanism = config.mechanism(looked_at(config))
    whose = f"{told.folder}, " if named else ""
    notes = [f"{whose}{answer.row['row']}: {note}" for answer, _ in told.answers for note in answer.notes]
    metrics = {
        "task": config.task,
        "mechanism": mechanism.name,
        "weights": mechanism.weights,
        "reason": None,
        "sentences": notes if named else [f"{note[0].upper()}{note[1:]}" for note in notes],
        "reading": KINDS.get(mechanism.weights, []),
        "methods": {name: {"what": METHODS[name].what} for name in METHODS},
    }
    shares = explained.shares_of_source(answer.asked for answer, _ in told.answers)
    scores = Scores({answer.row["row"]: list(found) for answer, found in told.answers}, shares)
    return Shown(
        metrics,
        [_example(told.predictor, answer) for answer, _ in told.answers],
        facts(told.predictor.model),
        known=scores,
        own=scores,
        method=told.method,
        folder=str(told.folder) if named else "",
    )


def _example(predictor: Predictor, answer: Answer) -> Example:
    probability = answer.answer.get("probability")
    return Example(
        row=answer.row["row"],
        source="\n".join(answer.texts.values()),
        reference="",
        prediction=answer.prediction,
        right=None,
        probability=None if probability is None else float(probability),
        keys=answer.words,
        queries=answer.outputs if answer.asked.writes else [],
        weights=None,
        gold=None,
        shown="",
        inputs={name: str(answer.record[name]) for name in answer.texts} if not answer.goes_on else answer.texts,
        readers=readers_of(answer.asked.model, answer.asked.reading, 0, answer.asked.said[0].tolist()),
        traces=[_trace(predictor, answer)],
    )


def _trace(predictor: Predictor, answer: Answer) -> Trace:
    """The pass that was explained; what is known here is what the model said, so it is its own output."""
    shape = SHAPES[predictor.task.name]
    (found,) = traces(
        predictor.model, answer.row, answer.record, answer.prediction, predictor.tokenizer, shape, predictor.device,
        predictor.target_tokenizer,
    )  # fmt: skip
    return replace(found, of="output") if answer.asked.writes else found
