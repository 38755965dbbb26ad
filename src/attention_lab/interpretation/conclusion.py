"""What may be concluded from the metrics and gates, and what may not, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attention_lab.interpretation.explained import Table
from attention_lab.interpretation.findings import Gate, in_words
from attention_lab.interpretation.measures import BLIND, CONTROLS, Plausibility

# Gates that must pass before any scores are read, and what follows if one fails.
GROUNDS = {
    "oracle": "The measure fails even on the known truth, so no figure here says how good a method is.",
    "replayed_weights": "The weights shown are not the ones the model used: they were read wrongly, and nothing below "
    "should be believed.",
    "completeness": "Integrated gradients are not exact here, so their scores should not be read; the completeness "
    "gate says why, and what to do.",
    "randomised_model": "An untrained model gives scores that are as good, or the same: they reflect how the model is "
    "built, not what it learned.",
    "other_example": "Scores from another example do as well: they reflect a habit of the model, not this example.",
}

# Why the chart of attention, which shows what `alignment.py` or `rationale.py` has measured, has a different figure.
OTHERWISE = (
    "This is measured on the texts that every method explains; the report's chart of attention often covers more."
)


def conclude(table: Table, gates: Mapping[str, Gate], heads: Mapping[str, Any]) -> list[str]:
    """Conclusions as sentences: failed prerequisites, which method to trust and how far, whether weights explain, and
    open questions.

    Args:
        heads: the result of `heads.agreement`.
    """
    found = [sentence for name, sentence in GROUNDS.items() if gates[name].passed is False]
    found += _plausible(table, gates) if table.measure is not None and table.best is not None else [
        "There is no gold standard here, so nobody can say whether a method names the right words. What can be said is "
        "how far predictions depend on the words it names."
    ]  # fmt: skip
    found += _faithful(table.rows)
    found.append(_of_weights(table.rows, gates))
    if heads["importance"] is not None:
        agree = "can" if heads["importance"] >= 0.7 else "cannot"
        found.append(
            f"Across {heads['heads']} heads, a head's importance (a gradient) and the growth in loss without it have a "
            f"Spearman correlation of {heads['importance']:.2f}, so importance {agree} stand in for removing heads, "
            "which is slower."
        )
    found.append(
        "None of this says why the model predicts what it does. Scores that look like the known reasons are plausible, "
        "scores that pick out the words a prediction depends on are faithful; a method can be one without the other."
    )
    if gates["seeds"].passed is None:
        found.append("All this holds for this one model: one trained with another seed may be explained differently.")
    elif not gates["seeds"].passed:
        found.append("All this holds for this one model: another one is explained differently on the same data.")
    return found


def _plausible(table: Table, gates: Mapping[str, Gate]) -> list[str]:
    if table.measure is None or table.best is None:
        return []
    name, row = table.measure.name, table.rows[table.best]
    figure = _with_interval(row, name)
    words = in_words(name)
    weights = table.rows["weights"]
    otherwise = [] if weights["reason"] else [OTHERWISE]  # without weights there is no such chart
    failed = [control for control in BLIND if gates[control].passed is False]
    if failed:
        return [
            f"No method names the right words: {in_words(table.best)}, the best on the validation rows, has an {words} "
            f"of {figure}, which is no better than the {' and '.join(failed)} control{'s' * (len(failed) > 1)}.",
            *otherwise,
        ]
    first = (
        f"Of all methods, {in_words(table.best)} is the one to read: it names the right words best on the validation "
        f"rows, and on the test rows it has an {words} of {figure}, against {table.rows['random'][name]:.2f} for "
        "random scores."
    )
    if table.best == "weights" or weights["reason"]:
        return [first, *otherwise]
    told = "and on these rows the two cannot be told apart"
    if _apart(table.measure, row, weights):
        told = "which is worse"
    elif _apart(table.measure, weights, row):
        told = "which is better on these rows"
    return [first, f"The weights alone have {_with_interval(weights, name)}, {told}.", *otherwise]


def _apart(measure: Plausibility, better: Mapping[str, Any], worse: Mapping[str, Any]) -> bool:
    """Whether the one is better than the other even at the nearest ends of their intervals."""
    low, high = (better, worse) if measure.more_is_better else (worse, better)
    ends = (low[f"{measure.name}_low"], high[f"{measure.name}_high"])
    return None not in ends and ends[0] > ends[1]


def _faithful(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    measured = {
        name: row for name, row in rows.items() if row.get("comprehensiveness") is not None and name not in CONTROLS
    }
    if not measured:
        return []
    best = max(measured, key=lambda name: measured[name]["comprehensiveness"])
    chance = rows["random"]["comprehensiveness"]
    low = measured[best]["comprehensiveness_low"]
    # Compared at the two digits that the sentence shows.
    depends = low is not None and round(low, 2) > round(chance, 2)
    return [
        f"Hiding the words that {in_words(best)} ranks first lowers the probability of the output by "
        f"{measured[best]['comprehensiveness']:z.2f} on average, hiding as many at random by {chance:z.2f}: "
        + ("predictions depend on them." if depends else "predictions depend on them no more than on others.")
    ]


def _of_weights(rows: Mapping[str, Mapping[str, Any]], gates: Mapping[str, Gate]) -> str:
    if rows["weights"]["reason"]:
        return f"There are no weights to read: {rows['weights']['reason']}."
    closed: Sequence[str] = [name for name in ("permuted_weights", "uniform_weights") if gates[name].passed is False]
    if closed:
        return (
            "Weights should not be read as an explanation here: "
            + ("shuffling them" if closed[0] == "permuted_weights" else "making them all equal")
            + " hardly changes the predictions."
        )
    return (
        "Predictions do depend on which word has which weight, so the weights say something about how predictions are "
        "made; the table says how much."
    )


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.2f}" + ("" if low is None else f" (95 % interval {low:.2f} to {high:.2f})")
