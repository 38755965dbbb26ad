"""Gates between a figure and a conclusion: is a finding better than chance, is it specific to this model and example,
and does the prediction depend on it? See `findings.Gate`.

Each function computes one gate (`against_controls` several), with the help of `interventions.py` and `measures.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attention_lab.interpretation import interventions, measures
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.explained import Explained, Gold, Table, explain
from attention_lab.interpretation.findings import Gate, in_words
from attention_lab.interpretation.gradients import GAP, LEAST
from attention_lab.interpretation.measures import Plausibility
from attention_lab.interpretation.methods import looked_at
from attention_lab.interpretation.weights import Row
from attention_lab.metrics import rounded
from attention_lab.transformer import Config, Model

PERFECT = 0.05  # how far the gold itself may be from a perfect figure: reading links from scores loses some
HALF = 0.5  # share of the way to chance that randomising must move a figure; without gold, the largest correlation
MOVED = 0.1  # total variation by which permuted weights must move predictions
FALL = 0.05  # share of correct predictions that uniform weights must cost
NEARLY = 0.1  # nats, about a tenth of a probability, up to which hidden words are said not to change an answer
SAME = 1e-3  # how much a probability may change when weights are replayed
ALIKE = 0.5  # the least Spearman correlation of two models' attributions


def against_controls(table: Table) -> list[Gate]:
    """Compare the worse end of the best method's interval with attributions that do not come from a model."""
    measure, best = table.measure, table.best
    if measure is None or best is None:
        reason = (
            "There is no gold standard here, so no attribution is right or wrong, nor better or worse than a control."
        )
        return [Gate(name, None, None, None, reason) for name in measures.CONTROLS]
    name, own, bound = measure.name, table.rows[best], _worse_end(table.rows[best], measure)
    found = []
    for control in measures.BLIND:
        figure = table.rows[control][name]
        passed = measures.better(measure, bound, figure)
        found.append(
            Gate(
                control, figure, bound, passed,
                f"Scores made without a model ({measures.CONTROLS[control]}) have {_named(name)} of {figure:.2f}; "
                f"{in_words(best)}, the best method, has {own[name]:.2f}: "
                + ("better, even" if passed else "no better") + " at the worse end of its interval.",
            )
        )  # fmt: skip
    figure = table.rows["oracle"][name]
    perfect = 1.0 - PERFECT if measure.more_is_better else PERFECT
    passed = not measures.better(measure, perfect, figure)
    found.append(
        Gate(
            "oracle", figure, perfect, passed,
            f"The known truth, measured like a method, has {_named(name)} of {figure:.2f}: the measure "
            + ("recognises what is right." if passed else "does not recognise what is right."),
        )
    )  # fmt: skip
    return found


def other_example(test: Explained, table: Table) -> Gate:
    """Attributions of another row, stretched to the size of this row, must be worse than its own."""
    measure, best = table.measure, table.best
    if measure is None or best is None:
        return Gate(
            "other_example", None, None, None, "There is no gold standard here to measure another row's scores by."
        )
    own = test.scores[best][table.variants[best]]
    if len(own) < 2:
        return Gate(
            "other_example", None, None, None, "Only one row was explained, so there is no other to compare it with."
        )
    others = [_stretched(own[(at + 1) % len(own)], scores.shape) for at, scores in enumerate(own)]
    way = table.rows[best]["variant"]
    counts = measures.counted(measure, {table.variants[best]: others})[way].counts
    figure = measure.figures(counts)[measure.name]
    bound = _worse_end(table.rows[best], measure)
    passed = measures.better(measure, bound, figure)
    return Gate(
        "other_example", rounded(figure), bound, passed,
        f"Scores of {in_words(best)} taken from another example have {_named(measure.name)} of {figure:.2f}, the "
        f"example's own {table.rows[best][measure.name]:.2f}: "
        + ("they are about the example." if passed else "any example's would do as well."),
    )  # fmt: skip


def read_first(table: Table) -> list[str]:
    """The methods to read first: the best one, then one that every model with weights has, then one that any has."""
    return [name for name in dict.fromkeys((table.best, "weights", "value_zeroing")) if name in table.variants]


def randomised_model(
    model: Model, batches: Sequence[Asked], table: Table, gold: Gold | None, *, steps: int, seed: int
) -> tuple[Gate, list[dict[str, Any]]]:
    """Attributions of a model with randomised parameters must be clearly worse, or without gold, different.

    Returns:
        The gate, for the model with no trained parameter left, and the measurements after each part from the top down:
        `randomised`, `method`, `spearman` with the trained model's scores, and the figure against gold.
    """
    names = read_first(table)[:2]
    trained = explain(batches, steps, names)
    measure = None if gold is None else gold.measure(trained)

    def figure(explained: Explained, name: str) -> float | None:
        if measure is None:
            return None
        way = table.rows[name]["variant"]
        rows = {table.variants[name]: explained.scores[name][table.variants[name]]}
        return measure.figures(measures.counted(measure, rows)[way].counts)[measure.name]

    found: list[dict[str, Any]] = []
    for part, changed in interventions.cascade(model, seed):
        explained = explain([replace(asked, model=changed) for asked in batches], steps, names)
        for name in names:
            variant = table.variants[name]
            same = measures.alike(
                trained.scores[name][variant], explained.scores[name][variant], goes_on=measures.goes_on(batches[0])
            )
            value, correlation = figure(explained, name), np.nanmean(same) if np.isfinite(same).any() else None
            found.append(
                {
                    "randomised": part,
                    "method": name,
                    "spearman": None if correlation is None else rounded(correlation),
                    **({} if measure is None or value is None else {measure.name: rounded(value)}),
                }
            )
    name = names[0]
    last = next(step for step in reversed(found) if step["method"] == name)
    if measure is None:
        return _unlike(name, last["spearman"]), found
    return _learned(name, measure, figure(trained, name), last[measure.name], table.rows["random"][measure.name]), found


def _unlike(name: str, correlation: float | None) -> Gate:
    """Without gold: scores of the randomised model must be different."""
    if correlation is None:
        reason = f"No row has scores of {in_words(name)} that vary in this model and in one with random parameters."
        return Gate("randomised_model", None, HALF, None, reason)
    passed = abs(correlation) <= HALF
    return Gate(
        "randomised_model", correlation, HALF, passed,
        f"With all parameters redrawn at random, scores of {in_words(name)} have a Spearman correlation of "
        f"{correlation:.2f} with those of the trained model: "
        + ("they come from what was learned." if passed else "they do not come from what was learned."),
    )  # fmt: skip


def _learned(name: str, measure: Plausibility, own: float | None, value: float, chance: float) -> Gate:
    """With gold: scores of the randomised model (value) must be worse than the trained model's (own)."""
    way = (own - value) / (own - chance) if own is not None and own != chance else 0.0
    better_than_chance = own is not None and measures.better(measure, own, chance)
    passed = better_than_chance and way >= HALF
    return Gate(
        "randomised_model", value, rounded(own + HALF * (chance - own)) if own is not None else None, passed,
        f"With all parameters redrawn at random, scores of {in_words(name)} have {_named(measure.name)} of "
        f"{value:.2f}, with the learned ones {_number(own)}; random scores have {chance:.2f}: "
        + ("what it finds was learned." if passed else "what it finds is not what was learned."),
    )  # fmt: skip


def permuted_weights(batches: Sequence[Asked], config: Config, seed: int) -> Gate:
    """Predictions must change when weights are permuted."""
    mechanism = config.mechanism(looked_at(config))
    if mechanism.weights == "none":
        return _no_weights("permuted_weights", mechanism.name)
    moved = float(interventions.permuted(batches, seed).distance.mean())
    passed = moved >= MOVED
    return Gate(
        "permuted_weights", rounded(moved), MOVED, passed,
        f"When each position's weights are shuffled among the words, predictions move by {moved:.2f} (total variation, "
        "from 0 to 1): "
        + ("they depend on which word gets which weight." if passed else "they hardly depend on which word gets which "
           "weight, so weights cannot explain them."),
    )  # fmt: skip


def uniform_weights(batches: Sequence[Asked], config: Config) -> Gate:
    """The model must do worse with uniform weights."""
    mechanism = config.mechanism(looked_at(config))
    if mechanism.weights == "none":
        return _no_weights("uniform_weights", mechanism.name)
    changed = interventions.evened(batches)
    after, before = float(changed.right.mean()), float(changed.right_before.mean())
    passed = before - after >= FALL
    return Gate(
        "uniform_weights", rounded(after), rounded(before - FALL), passed,
        f"With the same weight for every word, {100 * after:.0f} % of predictions are right, with the model's own "
        f"weights {100 * before:.0f} %: "
        + ("it needs them." if passed else "it does about as well without them, so they explain nothing."),
    )  # fmt: skip


def completeness(sums: Sequence[tuple[float, float]]) -> Gate:
    """Integrated gradients must sum to what they explain; sums: see `explained.Explained`.

    If they do not, there may be too few steps. But if the answer is nearly the same for a text without words, they
    should sum to almost nothing, so the relative error is large however many steps there are.
    """
    if not sums:
        return Gate("completeness", None, None, None, "No output has a word, so there is no total to reach.")
    found, wanted = np.array(sums).T
    missed, whole = np.abs(found - wanted), np.abs(wanted)
    gap = float(missed.sum() / max(whole.sum(), LEAST))
    passed = gap <= GAP
    depends = whole > NEARLY
    told = f"Integrated gradients miss the total they should sum to by {100 * gap:.1f} %: "
    if passed:
        told += "the steps are enough."
    elif missed[depends].sum() > GAP * whole[depends].sum():
        told += "the steps are too few; raise interpret.steps before reading their scores."
    else:
        some = f"{100 * (1.0 - depends.mean()):.0f} % of its answers" if depends.any() else "its answers"
        told = (
            "Integrated gradients miss the total they should sum to, but that total is next to nothing: with all words "
            f"hidden, the model is nearly as sure of {some}. More steps would not change that; read occlusion or "
            "another method instead."
        )
    return Gate("completeness", rounded(gap), GAP, passed, told)


def replayed_weights(asked: Asked, rows: Sequence[Row], config: Config) -> Gate:
    """Replaying the shown weights in the model must give its original predictions."""
    mechanism = config.mechanism(looked_at(config))
    if mechanism.weights == "none":
        return _no_weights("replayed_weights", mechanism.name)
    change = interventions.replayed(asked, rows)
    passed = change <= SAME
    return Gate(
        "replayed_weights", rounded(change), SAME, passed,
        f"When the model is made to use the weights shown, probabilities change by at most {change:.4f}: "
        + ("these are the weights it used." if passed else "these are not the weights it used; they may be those of "
           "another example or layer, or transposed."),
    )  # fmt: skip


def stability(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], method: str, other: str, *, goes_on: bool = False
) -> Gate:
    """Another model that has learned the same task must get similar explanations.

    Args:
        first, second: a method's scores (Wq, Wk) for this model and for the other, by row name; only common rows are
            compared. other: description of the other model. goes_on: see `measures.alike`.
    """
    both = [name for name in first if name in second]
    same = measures.alike([first[name] for name in both], [second[name] for name in both], goes_on=goes_on)
    known = same[np.isfinite(same)]
    if not len(known):
        reason = f"There is no row for which {in_words(method)} has scores from both models."
        return Gate("seeds", None, None, None, reason)
    value = float(known.mean())
    passed = value >= ALIKE
    return Gate(
        "seeds", rounded(value), ALIKE, passed,
        f"Scores of {in_words(method)} for this model and for {other} have a Spearman correlation of {value:.2f}: "
        + ("what it finds belongs to the task." if passed else "what it finds belongs to this one model alone."),
    )  # fmt: skip


ONE_MODEL = Gate(
    "seeds", None, None, None,
    "There is only one model here. To see whether one with another seed is explained alike, name its folder in "
    "interpret.beside.",
)  # fmt: skip


def _worse_end(row: Mapping[str, Any], measure: Plausibility) -> float:
    """The worse end of the interval of a method's figure; the figure itself if it has no interval."""
    end = row[f"{measure.name}_{'low' if measure.more_is_better else 'high'}"]
    return float(row[measure.name] if end is None else end)


def _no_weights(name: str, mechanism: str) -> Gate:
    return Gate(name, None, None, None, f"{mechanism} has no attention weights to change.")


def _stretched(scores: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Scores (Wq, Wk) resized to another shape: each cell takes the value at the same relative position."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * there / wanted).astype(int)
        for wanted, there in zip(shape, scores.shape, strict=True)
    )
    return scores[rows][:, columns]


def _named(figure: str) -> str:
    return "an " + in_words(figure)


def _number(value: float | None) -> str:
    return "nothing that can be measured" if value is None else f"{value:.2f}"
