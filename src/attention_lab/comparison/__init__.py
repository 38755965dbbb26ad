"""Experiments side by side: what was changed, what it reached, and whether that is more than chance.

Results that differ in nothing but their seed are one line. Where a line has several seeds its interval and its
distance from another line are over these trainings, pair by pair, for the seed draws weights, order and embedded rows
alike in both; where it has one, they are over test rows, and nothing is said of other trainings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from scipy import stats
from tqdm import tqdm

from attention_lab.errors import InputError
from attention_lab.records import SHAPES
from attention_lab.tracking import Result

Predictions = Callable[[Result], pd.DataFrame | None]

FIRST = "attention.mechanism"
# What changes where, how fast or how much is said of a result, and not the result.
BESIDE = (
    "interpret.", "seed", "train.device", "train.threads", "train.checkpoint_steps",
    "evaluate.bootstrap", "evaluate.tokens_per_batch",
)  # fmt: skip
DATA = ("seed", "data.", "clean.", "vocab.", "split.", "encode.")  # what decides the data that a training reads
# Where the texts come from that a score is measured on; the training data may differ, and be what is compared.
MEASURED_ON = ("data.source", "data.path", "data.test", "data.name", "data.config")
KNOWN = {"alignment_error_rate": "alignment error", "average_precision": "average precision"}
COSTS = {
    "train.parameters": "parameters",
    "train.tokens_per_second": "tokens/s",
    "train.peak_memory_mb": "peak memory, MB",
}
RESAMPLES = 2000  # of test rows


@dataclass(frozen=True)
class Line:
    """Results with the same parameters but for their seeds.

    settings: of the parameters that differ between lines. failed: seeds of trainings that ended without a score.
    score: the mean over seeds. low, high: 95 %, over seeds (Student's t), of one seed over test rows (bootstrap; None
    of one row). difference: of the score from that of the line that all are held against, in the mean over the seeds
    that both have; None if they share none. shared: how many these are. margin: half its 95 % interval, and chance: the
    probability of such a difference or a larger one where there is none, with as many tests as there are lines (false
    discovery rate, Benjamini & Hochberg 1995). over: what these two are of: seeds (paired t-test), or the rows of the
    one seed that both have (paired bootstrap, Koehn 2004; approximate randomisation, Riezler & Maxwell 2005); None, as
    they are, where the two have not predicted the same rows, or differ alike in all seeds, so that there is no spread
    to go by. more: other figures by title, means over seeds.
    """

    settings: dict[str, str]
    seeds: list[str]
    failed: list[str]
    score: float
    low: float | None
    high: float | None
    difference: float | None = None
    margin: float | None = None
    chance: float | None = None
    shared: int = 0
    over: Literal["seeds", "rows"] | None = None
    more: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Lines of one task, the best first. against: which of them the others are held against. named: that was asked for.
    changed: that some were trained on other data, though the parameters of data are the same. others: results of other
    tasks. elsewhere: a parameter of each result of this task on other texts, as "name=value"."""

    task: str
    score_name: str
    lines: list[Line]
    against: int
    named: bool
    changed: bool
    others: int
    elsewhere: list[str]

    @property
    def notes(self) -> list[str]:
        """What a reader of the table has to know."""
        found = []
        if any(len(line.seeds) > 1 for line in self.lines):
            found.append(
                "Several seeds: mean and 95 % interval over trainings; differences are between equal seeds, and chance "
                "is how often one as large would come about if there were none (paired t-test, corrected for the "
                "number of lines)."
            )
        if not self.named and any(line.chance is not None for line in self.lines):
            found.append(
                "The line that the others are compared with is the best by these same scores, so the figures for "
                "chance are too small; --against names a line beforehand."
            )
        others = [line for number, line in enumerate(self.lines) if number != self.against]
        if others and all(line.difference is None for line in others):
            found.append(
                "No other line has a seed of the one that they are compared with: name another with --against, leave "
                "it out with --only, or train it with their seeds."
            )
        if any(len(line.seeds) == 1 or line.over == "rows" for line in self.lines):
            found.append(
                "One seed: the interval is over test rows, and so is chance where it is marked (rows): how often so "
                "large a difference would come about if it did not matter which of the two models gave an answer "
                "(approximate randomisation, corrected for the number of lines). That says nothing about other "
                "trainings; queue some, e.g. dvc exp run --queue -S 'seed=1,2,3'."
            )
        if self.changed:
            found.append(
                "Some results with the same seed and data parameters were trained on different data: a file's content, "
                "or the package that makes it, changed in between. A difference may come from the data; train the "
                "older ones again."
            )
        if any(line.failed for line in self.lines):
            found.append(
                "Failed trainings have no score and are not in the mean: a line that has some looks better than its "
                "setting is."
            )
        if any(title in line.more for line in self.lines for title in KNOWN.values()):
            found.append(
                "Alignment error and average precision are those of the method that did best on the validation rows, "
                "over the rows that every method explains; attention-lab summary has those of the weights, over more "
                "rows."
            )
        if self.others:
            found.append(f"Results of other tasks are left out ({self.others}); choose one with --task.")
        if self.elsewhere:
            found.append(
                f"Results on other data are left out ({len(self.elsewhere)}), for their scores are of other texts; "
                f"choose some with --only, e.g. --only {self.elsewhere[0]}."
            )
        return found


def compare(
    results: Sequence[Result],
    *,
    task: str | None = None,
    only: Sequence[str] = (),
    against: Sequence[str] = (),
    predictions: Predictions = lambda _: None,
) -> Comparison:
    """Put results, the newest first, side by side.

    Args:
        task: None: that of the newest result.
        only: "name=value": results with these parameters alone.
        against: settings of the line that all are held against, "value" or "name=value"; none: the best line.
        predictions: what the model of a result predicted, row by row, or None; differences of one seed are held
            against these rows.

    Raises:
        InputError: there is nothing to compare, or a name fits no result or no line.
    """
    known = [result for result in results if {"task", "seed", FIRST} <= result.params.keys()]
    scored = [result for result in known if "evaluate.score" in result.metrics]
    if not scored:
        raise InputError("no experiment has been evaluated yet; run `dvc repro` or `dvc exp run` first")
    task = task or scored[0].params["task"]
    chosen = [result for result in scored if result.params["task"] == task]
    if not chosen:
        there = sorted({result.params["task"] for result in scored})
        raise InputError(f"no experiment with the task {task} has been evaluated; choose one of {', '.join(there)}")
    others = len(scored) - len(chosen)
    for condition in only:
        chosen = _with(condition, chosen)
    elsewhere = [other for result in chosen if (other := _other_data(result, chosen[0]))]
    chosen = [result for result in chosen if not _other_data(result, chosen[0])]
    failed = [result for result in known if result.failed and "evaluate.score" not in result.metrics]
    groups = _grouped(chosen)
    pairs = [(_line(seeds, settings, failed), seeds) for settings, seeds in groups]
    pairs.sort(key=lambda pair: -pair[0].score)
    where = _where([line for line, _ in pairs], against)
    reference = pairs[where][1]
    held = cache(lambda seed: predictions(reference[seed]))  # read once for all lines
    lines = [
        line if number == where else _held_against(line, seeds, reference, predictions, held)
        for number, (line, seeds) in enumerate(tqdm(pairs, "compare", unit="line", leave=False, delay=2.0))
    ]
    changed = _changed([result for _, seeds in groups for result in seeds.values()])
    score_name = chosen[0].tags["evaluate.score_name"]
    return Comparison(task, score_name, _corrected(lines), where, bool(against), changed, others, elsewhere)


def _other_data(one: Result, other: Result) -> str:
    """A parameter by which `one` is measured on other texts than `other`, as "name=value"; "" if there is none."""
    found = [(name, one.params.get(name)) for name in MEASURED_ON if one.params.get(name) != other.params.get(name)]
    found.sort(key=lambda item: item[1] in (None, "None"))  # a value tells more than null
    return f"{found[0][0]}={found[0][1]}" if found else ""


def _with(condition: str, results: list[Result]) -> list[Result]:
    """Those with a parameter of "name=value"."""
    name, sign, value = condition.partition("=")
    if not sign:  # it would be taken for null
        raise InputError(f"--only {condition}: add a value, {condition}=VALUE")
    fitting = [result for result in results if name in result.params and _same(value, result.params[name])]
    if not fitting:
        values = sorted({result.params[name] for result in results if name in result.params})
        there = f"; {name} has the values {', '.join(values)}" if values else ""
        raise InputError(f"--only {condition}: no experiment has a parameter with that name and value{there}")
    return fitting


def _same(value: str, logged: str) -> bool:
    """Is that how params.yaml would have it? There it is true, null or 1e-3, and True, None or 0.001 in the books."""
    try:
        read = yaml.safe_load(value)
        return logged in (value, str(read)) or float(value) == float(logged)
    except (yaml.YAMLError, ValueError):
        return False


def _of_training(result: Result) -> dict[str, str]:
    """What a training was given but for its seed."""
    return {name: value for name, value in result.params.items() if not name.startswith((*BESIDE, "evaluate."))}


def _grouped(results: Sequence[Result]) -> list[tuple[dict[str, str], dict[str, Result]]]:
    """Settings that differ, with the newest result of each seed."""
    groups: dict[str, dict[str, Result]] = {}
    settings: dict[str, dict[str, str]] = {}
    for result in results:
        own = {name: value for name, value in sorted(result.params.items()) if not name.startswith(BESIDE)}
        used = result.tags.get("evaluate.attention.mechanism", own[FIRST])
        if own[FIRST] not in re.split(r"[ ,:]+", used):  # it is not for these places, and another is there
            own[FIRST] = f"{own[FIRST]} (not used: {used})"
        key = json.dumps(own)
        settings[key] = own
        groups.setdefault(key, {}).setdefault(result.params["seed"], result)
    names = sorted({name for own in settings.values() for name in own}, key=lambda name: (name != FIRST, name))
    differing = [name for name in names if len({own.get(name) for own in settings.values()}) > 1] or [FIRST]
    return [({name: settings[key].get(name, "") for name in differing}, seeds) for key, seeds in groups.items()]


def _changed(results: Sequence[Result]) -> bool:
    """Did the same parameters lead to different data?"""
    read: dict[str, set[str]] = {}
    for result in results:
        if "data_digest" in result.tags:
            named = {name: value for name, value in sorted(result.params.items()) if name.startswith(DATA)}
            read.setdefault(json.dumps(named), set()).add(result.tags["data_digest"])
    return any(len(digests) > 1 for digests in read.values())


def _line(seeds: dict[str, Result], settings: dict[str, str], failed: Sequence[Result]) -> Line:
    every = list(seeds.values())
    wanted = _of_training(every[0])
    lost = {result.params["seed"] for result in failed if _of_training(result) == wanted} - seeds.keys()
    scores = np.array([result.metrics["evaluate.score"] for result in every])
    low, high = (every[0].metrics.get(f"evaluate.score_{end}") for end in ("low", "high"))
    if len(scores) > 1:
        half = margin(scores)
        low, high = float(scores.mean() - half), float(scores.mean() + half)
    more: dict[str, float] = {}
    for measure, title in KNOWN.items():
        names = [f"interpret.methods.{result.tags.get('interpret.best_method')}.{measure}" for result in every]
        if all(name in result.metrics for name, result in zip(names, every, strict=True)):
            more[title] = float(np.mean([r.metrics[name] for name, r in zip(names, every, strict=True)]))
    for name, title in COSTS.items():
        if all(name in result.metrics for result in every):
            more[title] = float(np.mean([result.metrics[name] for result in every]))
    return Line(settings, sorted(seeds), sorted(lost), float(scores.mean()), low, high, more=more)


def margin(values: np.ndarray) -> float:
    """Half the 95 % interval of a mean (Student's t)."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def _where(lines: Sequence[Line], against: Sequence[str]) -> int:
    if not against:
        return 0
    of_lines = [{*line.settings.values(), *(f"{n}={v}" for n, v in line.settings.items())} for line in lines]
    fitting = [number for number, settings in enumerate(of_lines) if settings.issuperset(against)]
    if len(fitting) != 1:
        known = sorted({f"{name}={value}" for line in lines for name, value in line.settings.items() if value})
        given = " ".join(f"--against {one}" for one in against)
        many = "more than one line matches" if fitting else "no line matches"
        raise InputError(f"{given}: {many}; choose from {', '.join(known)}, several if need be")
    return fitting[0]


def _held_against(
    line: Line,
    own: dict[str, Result],
    reference: dict[str, Result],
    predictions: Predictions,
    held: Callable[[str], pd.DataFrame | None],
) -> Line:
    """held: what the model of the reference predicted, by seed."""
    shared = [seed for seed in line.seeds if seed in reference]
    if not shared:
        return line
    scores = np.array([[by[seed].metrics["evaluate.score"] for seed in shared] for by in (own, reference)])
    differences = np.round(scores[0] - scores[1], 9)  # scores have six decimals, and what is below is no difference
    line = replace(line, difference=float(differences.mean()), shared=len(shared))
    if len(shared) < 2:
        (seed,) = shared
        return _over_rows(line, own[seed].params["task"], predictions(own[seed]), held(seed))
    if np.ptp(differences) > 0.0:
        chance = float(stats.ttest_1samp(differences, 0.0).pvalue)  # which the paired test is
        return replace(line, margin=margin(differences), chance=chance, over="seeds")
    return line if differences[0] else replace(line, margin=0.0, chance=1.0, over="seeds")


def _over_rows(line: Line, task: str, own: pd.DataFrame | None, reference: pd.DataFrame | None) -> Line:
    """The line with margin and chance of its difference over rows, if both models have predicted the same ones."""
    texts = ["row", *SHAPES[task].required]
    if own is None or reference is None or len(own) < 2 or not own[texts].equals(reference[texts]):
        return line
    from attention_lab.tasks import TASKS  # and with it torch, which nothing else here needs

    figure = TASKS[task].headline(pd.concat([own, reference], ignore_index=True))
    places = np.arange(len(own)), np.arange(len(own), 2 * len(own))

    def difference(some: np.ndarray, others: np.ndarray) -> float:
        return figure(some) - figure(others)

    way = {"n_resamples": RESAMPLES, "vectorized": False}
    ends = stats.bootstrap(
        places, difference, paired=True, method="percentile", rng=np.random.default_rng(0), **way
    ).confidence_interval  # fmt: skip
    exchanged = stats.permutation_test(
        places, difference, permutation_type="samples", rng=np.random.default_rng(0), **way
    )  # fmt: skip
    return replace(line, margin=float(ends.high - ends.low) / 2.0, chance=float(exchanged.pvalue), over="rows")


def _corrected(lines: list[Line]) -> list[Line]:
    chances = [line.chance for line in lines if line.chance is not None]
    corrected = iter(stats.false_discovery_control(chances) if chances else ())
    return [line if line.chance is None else replace(line, chance=float(next(corrected))) for line in lines]
