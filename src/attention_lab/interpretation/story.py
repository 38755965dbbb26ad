"""The content of the report around its viewer: scores, short examples, methods with controls, gates, grids."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from attention_lab.interpretation.alignment import ROWS
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.measures import BLIND
from attention_lab.interpretation.rationale import GOLD_WORDS

STEPS = 20  # shades of a grid
BETWEEN = "|"  # separates labels, see `records.spelled`; it is not a word that could be wrong
PERCENT = ("bleu", "bleu_lowercase", "chrf")  # metrics from 0 to 100; all others are from 0 to 1
SPELLED = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "character_probability": "Character probability",
    "f1": "F1",
    "f1_micro": "Micro-F1",
    "multi_label": "Multi-label classification",
}
# What each headline metric measures, for readers who do not know it.
EXPLAINED = {
    "accuracy": "The share of texts that were given the right class.",
    "bleu": "BLEU counts the runs of one to four words that the output shares with the reference: 100 is the same "
    "text, 0 shares none.",
    "character_probability": "How probable the model finds each next character of a text (geometric mean): 1 is "
    "certain of all.",
    "f1": "F1 counts the words that an answer shares with the right one: 1 is the same words, 0 none of them.",
    "f1_micro": "F1 counts the labels that are both predicted and true, against those that are only one of the two: 1 "
    "is all right.",
    "rouge1": "ROUGE-1 counts the words that the output shares with the reference: 1 is the same words, 0 none of "
    "them.",
}
# What the gates check, as statements that are true if they pass.
GATES = {
    "random": "Better than scores drawn at random",
    "constant": "Better than the same score for every word",
    "position": "Better than a guess by position alone",
    "oracle": "The measure knows the truth when it sees it",
    "other_example": "The scores are about this example",
    "randomised_model": "The scores come from what was learned",
    "permuted_weights": "It matters which word has which weight",
    "uniform_weights": "It does worse with equal weights",
    "completeness": "Integrated gradients add up",
    "replayed_weights": "The weights shown are the ones it used",
    "seeds": "Another model is explained alike",
}
READERS = {  # which row of the weights is read, by the name in a variant; in the words of the page's picker
    "predicting": "row that predicts a word",
    "reading": "row that reads a word",
    "answer": "rows of the answer",
    "question": "rows of the question",
}
# Measures of plausibility and of faithfulness; True: higher is better.
PLAUSIBLE = {"alignment_error_rate": False, "average_precision": True}
MEASURES = {
    "alignment_error_rate": ("alignment error rate", "↓"),
    "average_precision": ("average precision", "↑"),
    "token_f1": ("token F1", "↑"),
    "iou_f1": ("IOU-F1", "↑"),
    "comprehensiveness": ("comprehensiveness", "↑"),
    "sufficiency": ("sufficiency", "↓"),
}


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: value, low and high between 0 and 1; label as printed."""

    name: str
    label: str
    value: float
    low: float | None = None
    high: float | None = None
    ours: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell of a grid: its shade, 0 to STEPS; its text; marked: whether it is outlined."""

    shade: int
    text: str
    marked: bool


@dataclass(frozen=True)
class Card:
    """One example in brief. said, truth: words, and whether they match the other text; for a language model, whether
    they and all words before them do."""

    number: int
    example: Example
    said: list[tuple[str, bool]]
    truth: list[tuple[str, bool]]


@dataclass(frozen=True)
class MethodRow:
    """One method: its readable name, and for each measure value, low and high as text and as a share of 1."""

    name: str
    what: str
    paper: str
    control: bool
    reason: str
    values: list[Bar | None]
    best: bool


@dataclass(frozen=True)
class GateRow:
    """One gate: its name, what it checks in one line, whether it passed, and its figure next to the bound."""

    name: str
    title: str
    passed: bool | None
    figure: str
    sentence: str


def lead(metrics: Mapping[str, Any]) -> str:
    """What the model attended to and whether that can be trusted, for readers who do not know the measures."""
    if found := metrics.get("alignment"):
        told = (
            "Its attention, read as a guess at which words translate each other, has an error rate of "
            f"{found['error_rate']:.2f} (0 is no error, random links have {found['random']:.2f})."
        )
    elif found := ranked(metrics):
        told = (
            f"Its attention ({found['method']}) points out the words known to matter with an average precision of "
            f"{found['average_precision']:.2f} (1 is perfect, random scores have {found['random']:.2f})."
        )
    else:
        told = f"Whether it looked in the right places cannot be measured: {metrics['reason']}."
    states = [gate["passed"] for gate in metrics.get("gates", {}).values()]
    failed = states.count(False)
    every = failed + states.count(True)
    if not every:
        return told
    of = "checks on whether to believe that" if found else "other checks"
    return f"{told} Of the {of}, " + (f"{failed} of {every} failed." if failed else f"all {every} passed.")


def score_name(evaluate: Mapping[str, Any]) -> str:
    return spelled(evaluate["score_name"])


def spelled(name: str) -> str:
    """The name of a metric or task as it can begin a sentence."""
    return SPELLED.get(name, name.replace("_", " ").capitalize())


def score(evaluate: Mapping[str, Any]) -> list[Bar]:
    """The headline metric next to its baselines."""
    name = evaluate["score_name"]
    full, digits = (100.0, 1) if name in PERCENT else (1.0, 3)
    low, high = evaluate.get("score_low"), evaluate.get("score_high")
    bars = [
        Bar(
            "this model",
            f"{evaluate['score']:.{digits}f}",
            evaluate["score"] / full,
            None if low is None else low / full,
            None if high is None else high / full,
            ours=True,
        )
    ]
    for kind in ("classical", "baseline"):
        if kind in evaluate:
            value = evaluate[kind][name]
            bars.append(Bar(f"{kind}: {evaluate[kind]['what']}", f"{value:.{digits}f}", value / full))
    return bars


def cards(examples: Sequence[Example], number: int = 3) -> list[Card]:
    """The first examples to show in brief: one wrong example if there is one, then others, shortest first."""
    order = sorted(range(len(examples)), key=lambda i: (len(examples[i].keys), i))
    wrong = [i for i in order if examples[i].right is False][:1]
    return [_card(i, examples[i]) for i in [*wrong, *(i for i in order if i not in wrong)][:number]]


def _card(number: int, example: Example) -> Card:
    said, truth = example.prediction.split(" "), example.reference.split(" ")
    if example.right is None:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(said, truth, strict=False))
        given = len(list(same)) if example.reference else len(said)
        return Card(number + 1, example, [(word, i < given) for i, word in enumerate(said)], [])
    blocks = difflib.SequenceMatcher(a=said, b=truth, autojunk=False).get_matching_blocks()
    mine = {block.a + i for block in blocks for i in range(block.size)}
    theirs = {block.b + i for block in blocks for i in range(block.size)}
    return Card(
        number + 1,
        example,
        [(word, i in mine or word == BETWEEN) for i, word in enumerate(said)],
        [(word, i in theirs or word == BETWEEN) for i, word in enumerate(truth)],
    )


def measured(metrics: Mapping[str, Any]) -> list[Bar]:
    """What was measured for attention, next to baselines without attention."""
    if found := metrics.get("alignment"):
        other = next(name for name in ROWS if name != found["row"])
        return [
            _bar(f"attention, {found['row']} row", found["error_rate"], found["low"], found["high"], ours=True),
            _bar(f"attention, best place of the {other} row", found["rows"][other]),
            _bar("diagonal: the word at the same relative position", found["diagonal"]),
            _bar("random links", found["random"]),
        ]
    if found := ranked(metrics):
        return [
            *(
                _bar(name, value, found["low"], found["high"], ours=True)
                if name == found["method"]
                else _bar(name, value)
                for name, value in found["methods"].items()
            ),
            _bar("random scores", found["random"]),
            _bar("constant score: the share of gold words", found["constant"]),
        ]
    return []


def ranked(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The result of `rationale.measure`, for tasks with gold words."""
    found: Mapping[str, Any] | None = next((metrics[gold] for gold in GOLD_WORDS if metrics.get(gold)), None)
    return found


def columns(metrics: Mapping[str, Any]) -> list[str]:
    """The measures that at least one method has."""
    return [name for name in MEASURES if any(name in found for found in metrics.get("methods", {}).values())]


def methods(metrics: Mapping[str, Any]) -> list[MethodRow]:
    """The methods, most plausible first and undefined ones last, followed by the controls."""
    shown = columns(metrics)
    plausible = next((name for name in PLAUSIBLE if name in shown), None)
    gates = metrics.get("gates", {})
    beaten = any(control in gates and gates[control]["passed"] is False for control in BLIND)

    def order(item: tuple[str, Mapping[str, Any]]) -> tuple[bool, bool, float]:
        _, found = item
        value = found.get(plausible) if plausible else None
        rank = 0.0 if value is None else value
        return bool(found.get("control")), value is None, -rank if plausible and PLAUSIBLE[plausible] else rank

    return [
        MethodRow(
            name.replace("_", " "),
            found.get("what", ""),
            found.get("paper", ""),
            bool(found.get("control")),
            found.get("reason") or "",
            [_interval(found, measure) for measure in shown],
            name == metrics.get("best_method") and not beaten,
        )
        for name, found in sorted(metrics.get("methods", {}).items(), key=order)
    ]


def gates(metrics: Mapping[str, Any]) -> list[GateRow]:
    """The gates: those that failed first, those that do not apply last."""
    found = []
    for name, gate in metrics.get("gates", {}).items():
        figure, value, bound = "", gate["value"], gate["bound"]
        if value is not None:
            figure = f"{value:.3g}"
            if bound is not None:
                figure += f", {'above' if value > bound else 'below' if value < bound else 'at'} {bound:.3g}"
        words = name.replace("_", " ")
        told = (gate["passed"], figure, gate["sentence"])
        found.append(GateRow(words, GATES.get(name, words[:1].upper() + words[1:]), *told))
    return sorted(found, key=lambda row: (False, True, None).index(row.passed))


def trust(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The caption of a picture by method ("attention": the weights): how far it agrees with gold, what chance would
    reach, and how many gates passed. A picture of the weights may be of another layer or head than the one measured,
    so their caption names it."""
    table, gates = metrics.get("methods", {}), list(metrics.get("gates", {}).values())
    passed, failed = (sum(gate["passed"] is wanted for gate in gates) for wanted in (True, False))
    counted = f"Gates of this run: ✓ {passed} passed, ✗ {failed} failed." if gates else "No gates were computed."
    found = {}
    for name in ("attention", *table):
        row = table.get("weights" if name == "attention" else name, {})
        measure = next((measure for measure in PLAUSIBLE if row.get(measure) is not None), None)
        figure = ""
        if measure is not None:
            low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
            between = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
            chance = table.get("random", {}).get(measure)
            beside = "" if chance is None else f"; random scores have {chance:.2f}"
            where = f" for {_place(row['variant'])}" if name == "attention" else ""
            figure = f"On test rows: {MEASURES[measure][0]} {row[measure]:.2f}{between}{where}{beside}. "
        found[name] = figure + counted
    return found


def _place(variant: str) -> str:
    """The layer, head and row of a variant of the weights. Behind it may stand how its scores were read as links."""
    layer, *more = variant.split(";")[0].split(", ")
    head = "" if any(part.startswith("head") for part in more) else "mean of heads"
    return ", ".join(part for part in (layer, head, *(READERS.get(part, part) for part in more)) if part)


def _interval(found: Mapping[str, Any], measure: str) -> Bar | None:
    value = found.get(measure)
    if value is None:
        return None
    low, high = found.get(f"{measure}_low"), found.get(f"{measure}_high")
    return _bar(measure, value, low, high)


def candidates(found: Mapping[str, Any], row: int) -> list[list[Cell]]:
    """Alignment error rates of each layer and head; better ones are darker, and the chosen one is outlined."""
    chosen = (found["layer"] - 1, 0 if found["head"] == "mean" else found["head"])
    return [
        [
            Cell(_shade(1.0 - value), f"{value:.2f}", ROWS[row] == found["row"] and (layer, head) == chosen)
            for head, value in enumerate(line)
        ]
        for layer, line in enumerate(found["grid"][row])
    ]


def _shade(share: float) -> int:
    return round(STEPS * min(max(share, 0.0), 1.0))


def _bar(name: str, value: float, low: float | None = None, high: float | None = None, *, ours: bool = False) -> Bar:
    return Bar(name, f"{value:z.2f}", min(max(value, 0.0), 1.0), low, high, ours)
