"""What may be concluded from figures and gates, and what may not, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attention_lab.interpretation.explained import Table
from attention_lab.interpretation.findings import Gate, in_words
from attention_lab.interpretation.measures import CONTROLS

# Gates that stand before any reading of scores, and what does not hold if one is closed.
GROUNDS = {
    "oracle": "The measure itself fails on the known truth, so no figure here says how good a method is.",
    "replayed_weights": "The weights that are shown are not those that the model used: they were read wrongly, and "
    "nothing below should be believed.",
    "completeness": "Integrated gradients are not exact here, so their scores should not be read; the gate of "
    "completeness says why, and what to do.",
    "randomised_model": "An untrained model gives scores that are as good, or the same: they show how the model is "
    "built and not what it learned.",
    "other_example": "Scores of another example do as well: they show a habit of the model and not this example.",
}

# Why the chart of attention, which is of what `alignment.py` or `rationale.py` has measured, has another figure.
OTHERWISE = "This is of the texts that every method explains; the report's chart of attention is often of more."


def conclude(table: Table, gates: Mapping[str, Gate], heads: Mapping[str, Any]) -> list[str]:
    """Sentences: what stands in the way, which method to believe and how far, whether weights explain, what is open.

    Args:
        heads: what `heads.agreement` found.
    """
    found = [sentence for name, sentence in GROUNDS.items() if gates[name].passed is False]
    found += _plausible(table, gates) if table.measure is not None and table.best is not None else [
        "There is no gold here, so nobody can say whether a method names the right words. What can be said is how far "
        "predictions depend on the words that it names."
    ]  # fmt: skip
    found += _faithful(table.rows)
    found.append(_of_weights(table.rows, gates))
    if heads["importance"] is not None:
        agree = "so it can stand for the slower" if heads["importance"] >= 0.7 else "so it cannot stand for it"
        found.append(
            f"Over {heads['heads']} heads, the importance of a head and what is lost without it correlate by "
            f"{heads['importance']:.2f} (Spearman), {agree}."
        )
    found.append(
        "None of this says why the model predicts what it does. Scores that look like known reasons are plausible, "
        "scores of words on which the prediction depends are faithful, and a method can be one without the other."
    )
    if gates["seeds"].passed is None:
        found.append("It holds for this one model: another seed may be explained otherwise.")
    elif not gates["seeds"].passed:
        found.append("It holds for this one model: another of the same data is explained otherwise.")
    return found


def _plausible(table: Table, gates: Mapping[str, Gate]) -> list[str]:
    if table.measure is None or table.best is None:
        return []
    name, row = table.measure.name, table.rows[table.best]
    figure = _with_interval(row, name)
    words = in_words(name)
    failed = [control for control in ("random", "constant", "position") if gates[control].passed is False]
    if failed:
        return [
            f"No method names the right words: {in_words(table.best)}, the best on valid rows, has an {words} of "
            f"{figure}, which is no better than {' and '.join(failed)}.",
            OTHERWISE,
        ]
    weights = table.rows["weights"]
    first = (
        f"Of all methods {in_words(table.best)} is the one to read: on valid rows it names the right words best, and "
    )
    first += f"on test rows it has an {words} of {figure}, where chance has {table.rows['random'][name]:.2f}."
    if table.best == "weights" or weights["reason"]:
        return [first, OTHERWISE]
    ends = (row[f"{name}_low"], weights[f"{name}_high"])
    if not table.measure.more_is_better:
        ends = (weights[f"{name}_low"], row[f"{name}_high"])
    apart = None not in ends and ends[0] > ends[1]
    told = "which is worse" if apart else "which these rows cannot tell from it"
    return [first, f"The weights alone have {_with_interval(weights, name)}, {told}.", OTHERWISE]


def _faithful(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    measured = {
        name: row for name, row in rows.items() if row.get("comprehensiveness") is not None and name not in CONTROLS
    }
    if not measured:
        return []
    best = max(measured, key=lambda name: measured[name]["comprehensiveness"])
    chance = rows["random"]["comprehensiveness"]
    low = measured[best]["comprehensiveness_low"]
    # As far as two digits, which are told, can show.
    depends = low is not None and round(low, 2) > round(chance, 2)
    return [
        f"Hiding the words that {in_words(best)} puts first lowers the probability of what is said by "
        f"{measured[best]['comprehensiveness']:.2f} in the mean, hiding as many at random by {chance:.2f}: "
        + ("predictions depend on them." if depends else "predictions do not depend on them more than on others.")
    ]


def _of_weights(rows: Mapping[str, Mapping[str, Any]], gates: Mapping[str, Gate]) -> str:
    if rows["weights"]["reason"]:
        return f"Weights cannot be read: {rows['weights']['reason']}."
    closed: Sequence[str] = [name for name in ("permuted_weights", "uniform_weights") if gates[name].passed is False]
    if closed:
        return (
            "Weights should not be read as an explanation here: "
            + ("dealing them anew" if closed[0] == "permuted_weights" else "making them all the same")
            + " hardly changes what the model says."
        )
    return (
        "Predictions do depend on which word has which weight, so weights tell something of how they are made; the "
        "table says how much."
    )


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.2f}" + ("" if low is None else f" (95 % interval {low:.2f} to {high:.2f})")
