"""Experiments side by side: lines of the same settings, and differences held against scipy and by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.text import Text
from scipy import stats

from attention_lab.comparison import BESIDE, Comparison, compare
from attention_lab.comparison.shown import as_json, markdown, page, table, terminal
from attention_lab.errors import InputError
from attention_lab.tracking import Result

SCORES = {"additive": [70.0, 74.0, 75.0], "linear": [71.0, 72.0, 80.0], "shaw": [88.0, 91.0, 94.0]}


class Texts(HTMLParser):
    """What stands on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.found.add(data.strip())


def result(mechanism: str, seed: int, score: float, *, task: str = "translation", **params: str) -> Result:
    return Result(
        params={"task": task, "seed": str(seed), "attention.mechanism": mechanism, "model.layers": "2", **params},
        metrics={
            "evaluate.score": score,
            "evaluate.score_low": score - 1.0,
            "evaluate.score_high": score + 1.0,
            "interpret.methods.alti.alignment_error_rate": score / 1000.0,
            "train.tokens_per_second": 1000.0 * seed,
        },
        tags={"evaluate.score_name": "bleu", "interpret.best_method": "alti"},
    )


def three() -> list[Result]:
    return [result(name, seed, score) for name, scores in SCORES.items() for seed, score in enumerate(scores, 1)]


def by_name(found: Comparison) -> dict[str, int]:
    return {line.settings["attention.mechanism"]: number for number, line in enumerate(found.lines)}


def test_seeds_are_one_line_and_the_best_stands_first() -> None:
    found = compare(three())
    assert [line.settings for line in found.lines] == [
        {"attention.mechanism": name} for name in ("shaw", "linear", "additive")
    ]
    assert (found.task, found.score_name, found.against, found.others) == ("translation", "bleu", 0, 0)
    best = found.lines[0]
    assert best.seeds == ["1", "2", "3"]
    assert best.score == 91.0
    # Three values 3 apart: s = 3, and t is 4.3027 for two degrees of freedom (any table).
    assert best.high - best.score == pytest.approx(4.3027 * 3.0 / math.sqrt(3.0), rel=1e-4)
    assert best.more == {"alignment error": pytest.approx(0.091), "tokens/s": 2000.0}
    assert best.difference is None
    assert best.chance is None


def test_differences_are_those_of_the_same_seeds() -> None:
    assert any("too small" in note for note in compare(three()).notes)  # the best is chosen by the same scores
    found = compare(three(), against=["linear"])
    assert not any("too small" in note for note in found.notes)
    place = by_name(found)
    assert found.against == place["linear"]
    additive = found.lines[place["additive"]]
    assert additive.difference == pytest.approx(np.mean([-1.0, 2.0, -5.0]))
    chances = [stats.ttest_rel(SCORES[name], SCORES["linear"]).pvalue for name in ("shaw", "additive")]
    # Benjamini & Hochberg by hand, for two: the larger stays, the smaller is doubled but no larger than that.
    expected = [min(2.0 * min(chances), max(chances)), max(chances)]
    assert [found.lines[place["shaw"]].chance, additive.chance] == pytest.approx(expected)
    # Other seeds of the one or the other do not count.
    more = compare([*three(), result("additive", 9, 0.0)], against=["linear"]).lines
    assert next(line for line in more if line.settings == additive.settings).difference == additive.difference


def test_one_seed_has_the_interval_of_its_rows_and_no_chance() -> None:
    found = compare([result("additive", 1, 70.0), result("shaw", 1, 90.0), result("local", 2, 80.0)])
    best, other, worst = found.lines
    assert (best.low, best.high) == (89.0, 91.0)
    assert (worst.difference, worst.margin, worst.chance) == (-20.0, None, None)
    assert other.difference is None  # no seed in common
    assert "queue some" in found.notes[0]
    assert "no seed in common" in terminal(found)
    alone = "No other line has a seed of the one that they are compared with: name another with --against"
    assert alone not in " ".join(found.notes)
    assert alone in " ".join(compare([result("additive", 1, 70.0), result("local", 2, 80.0)]).notes)
    assert alone not in " ".join(compare([result("additive", 1, 70.0)]).notes)


def answers(*right: bool) -> pd.DataFrame:
    """Reviews, and whether a model has found their label."""
    rows = [f"test:{number}" for number in range(len(right))]
    guesses = ["positive" if good else "negative" for good in right]
    return pd.DataFrame({"row": rows, "text": rows, "label": "positive", "prediction": guesses})


def two(own: pd.DataFrame | None, reference: pd.DataFrame | None) -> Comparison:
    """The same seed of two mechanisms, which predicted this."""
    said = {"additive": own, "shaw": reference}
    scores = {"additive": 0.5, "shaw": 0.9}
    some = [result(name, 1, score, task="sentiment") for name, score in scores.items()]
    return compare(some, predictions=lambda found: said[found.params["attention.mechanism"]])


def test_one_seed_is_held_against_the_rows_that_both_predicted() -> None:
    # Five of ten answers differ, and all five for the worse: as often as five coins fall alike, 2 · 2⁻⁵.
    found = two(answers(*[False] * 5, *[True] * 4, False), answers(*[True] * 9, False))
    line = found.lines[1]
    assert (line.over, line.difference, line.chance) == ("rows", pytest.approx(-0.4), pytest.approx(2.0 * 0.5**5))
    assert table(found)[1][1][5] == "0.062 (rows)"
    assert any("says nothing about other trainings" in note for note in found.notes)


def test_the_margin_over_rows_is_that_of_paired_differences() -> None:
    random = np.random.default_rng(3)
    hard = random.random(3000) < 0.3  # for both, so that they err together
    own, reference = (np.where(hard, random.random(3000) < 0.2, random.random(3000) < 0.95) for _ in range(2))
    line = two(answers(*own), answers(*reference)).lines[1]
    expected = 1.96 * (own.astype(float) - reference.astype(float)).std(ddof=1) / math.sqrt(3000)
    assert line.margin == pytest.approx(expected, rel=0.08)


def test_a_small_margin_is_not_written_as_nothing() -> None:
    scores = {"additive": [0.7005, 0.7003], "shaw": [0.7010, 0.7009]}
    found = compare([result(name, seed, s) for name, both in scores.items() for seed, s in enumerate(both)])
    # Differences of −0.0005 and −0.0006: half the interval is t(0.975, 1) · s/√2 = 12.7062 · 0.00005.
    assert table(found)[1][1][4] == "-0.0005 ± 0.0006"


@pytest.mark.parametrize(
    "own", [None, answers(True), answers(True, False, True), answers(True, True).assign(text=["other", "texts"])]
)
def test_rows_that_only_one_predicted_say_nothing(own: pd.DataFrame | None) -> None:
    line = two(own, answers(True, False)).lines[1]
    assert (line.difference, line.margin, line.chance, line.over) == (pytest.approx(-0.4), None, None, None)


def test_a_result_of_one_row_has_no_interval() -> None:
    alone = result("shaw", 1, 90.0)
    for end in ("low", "high"):
        del alone.metrics[f"evaluate.score_{end}"]
    found = compare([alone, result("additive", 1, 70.0)])
    assert table(found)[1][0][3] == ""
    assert page(found).count('class="dot"') == 2


@pytest.mark.parametrize(("by", "nothing"), [(0.0, False), (2.0, True), (0.03, True)])
@pytest.mark.filterwarnings("error")
def test_the_same_difference_in_all_seeds_has_no_spread_to_go_by(by: float, nothing: bool) -> None:
    """0.95 − 0.92 and 0.9 − 0.87 differ in the last bits alone."""
    scores = {"a": (0.95, 0.9), "b": (0.95 - by, 0.9 - by)}
    found = compare([result(name, seed, score) for name in "ab" for seed, score in enumerate(scores[name], 1)])
    line = found.lines[1]
    assert abs(line.difference or 0.0) == pytest.approx(by)
    assert (line.margin, line.chance) == ((None, None) if nothing else (0.0, 1.0))
    assert len(table(found)[1][1][4]) < 20


def lost(mechanism: str, seed: int) -> Result:
    """A training that failed: of what comes after it nothing is known."""
    one = result(mechanism, seed, 0.0)
    return replace(one, metrics={"train.tokens_per_second": 1.0}, tags={}, failed=True)


def test_trainings_that_failed_are_counted() -> None:
    some = [*three(), lost("shaw", 7), lost("shaw", 8), lost("linear", 1), lost("nobody", 3)]
    found = compare(some)
    assert [line.failed for line in found.lines] == [["7", "8"], [], []]  # linear's seed 1 has been trained since
    assert table(found)[1][0][1] == "3 (2 failed)"
    assert any("looks better than its setting is" in note for note in found.notes)
    assert not any("looks better than its setting is" in note for note in compare(three()).notes)
    shown = replace(result("shaw", 1, 90.0), failed=True)  # its evaluation was there before interpret failed
    assert compare([shown]).lines[0].score == 90.0


def test_a_result_whose_training_is_not_known_is_no_line() -> None:
    stray = replace(result("shaw", 1, 99.0), params={"evaluate.bootstrap": "200"})
    assert len(compare([stray, *three()]).lines) == 3


def test_a_line_of_a_grid_can_be_named() -> None:
    some = [
        result(name, seed, 80.0 + seed + (name == "b"), **{"model.heads": heads})
        for name in "ab" for heads in "24" for seed in (1, 2)
    ]  # fmt: skip
    found = compare(some, against=["a", "model.heads=4"])
    assert found.lines[found.against].settings == {"attention.mechanism": "a", "model.heads": "4"}
    assert any("best by these same scores" in note for note in compare(some).notes)
    best = list(compare(some).lines[0].settings.values())
    assert not any("best by these same scores" in note for note in compare(some, against=best).notes)
    with pytest.raises(InputError, match=r"--against a: more than one line matches; choose from "):
        compare(some, against=["a"])


def test_a_difference_of_some_seeds_says_of_how_many() -> None:
    said = answers(*[True] * 6, False)
    some = [
        result(name, seed, 0.5 + seed / 10, task="sentiment") for name, seed in zip("aabb", (1, 2, 2, 3), strict=True)
    ]
    found = compare(some, against=["a"], predictions=lambda _: said)
    assert table(found)[1][1 - found.against][4].endswith("(1 of 2 seeds)")
    assert any("marked (rows)" in note for note in found.notes)


@pytest.mark.parametrize(("value", "logged"), [("null", "None"), ("true", "True"), ("1e-3", "0.001"), ("adam", "adam")])
def test_a_condition_is_written_as_in_params_yaml(value: str, logged: str) -> None:
    some = [result("shaw", 1, 90.0, **{"train.x": logged}), result("shaw", 1, 80.0, **{"train.x": "other"})]
    assert [line.score for line in compare(some, only=[f"train.x={value}"]).lines] == [90.0]


def test_what_does_not_change_a_result_makes_no_line_and_the_newest_counts() -> None:
    newest = result("shaw", 1, 90.0, **{"train.threads": "1", "interpret.examples": "2"})
    older = result("shaw", 1, 10.0, **{"train.threads": "2", "interpret.examples": "3"})
    (line,) = compare([newest, older]).lines
    assert line.score == 90.0
    assert all(any(name.startswith(beside) for beside in BESIDE) for name in ("train.threads", "interpret.examples"))


def test_columns_are_the_parameters_that_differ() -> None:
    some = [result("shaw", 1, 90.0), result("shaw", 1, 80.0, **{"model.layers": "3", "attention.options.window": "8"})]
    found = compare(some)
    assert list(found.lines[0].settings) == ["attention.options.window", "model.layers"]
    assert found.lines[0].settings["attention.options.window"] == ""
    (line,) = compare(some, only=["model.layers=3"]).lines
    assert line.score == 80.0


def test_a_mechanism_that_was_not_used_is_said_to_be_none() -> None:
    some = [result("cope", 1, 0.8), result("additive", 1, 0.7)]
    some[0].tags["evaluate.attention.mechanism"] = "scaled_dot_product"
    some[1].tags["evaluate.attention.mechanism"] = "encoder_self: additive, cross: scaled_dot_product"
    found = [line.settings["attention.mechanism"] for line in compare(some).lines]
    assert found == ["cope (not used: scaled_dot_product)", "additive"]


def test_data_that_changed_under_the_same_parameters_are_told() -> None:
    def of(name: str, digest: str, **params: str) -> Result:
        one = result(name, 1, 80.0, **params)
        return replace(one, tags=one.tags | {"data_digest": digest})

    file = {"data.train": "reviews.csv"}
    assert not compare([of("additive", "a", **file), of("linear", "a", **file)]).changed
    assert not compare([of("additive", "a", **file), of("linear", "b", **{"data.train": "more.csv"})]).changed
    found = compare([of("additive", "a", **file), of("linear", "b", **file)])
    assert found.changed
    assert any("were trained on different data" in note for note in found.notes)
    # Of one line and one seed the newest counts alone.
    assert not compare([of("additive", "b", **file), of("additive", "a", **file)]).changed


def test_other_tasks_are_counted_and_left_out() -> None:
    some = [result("shaw", 1, 0.9, task="sentiment"), *three()]
    assert compare(some).task == "sentiment"
    assert compare(some).others == 9
    assert compare(some, task="translation").others == 1


def test_scores_of_other_texts_are_left_out() -> None:
    """The newest result says on which data; other training rows for the same test rows are something to compare."""
    own = {"data.source": "file", "data.test": "test.csv"}
    here = [result("shaw", 1, 0.5, **own), result("shaw", 1, 0.6, **own, **{"data.train": "more.csv"})]
    embedded = [
        result(name, 1, 99.0, **{"data.source": "embedded", "data.test": "None"}) for name in ("shaw", "linear")
    ]
    other = result("shaw", 1, 98.0, **{"data.source": "file", "data.test": "old.csv"})
    found = compare([*here, other, *embedded])
    assert [line.score for line in found.lines] == [0.6, 0.5]
    assert found.elsewhere == ["data.test=old.csv", "data.source=embedded", "data.source=embedded"]
    assert "Results on other data are left out (3), " in found.notes[-1]
    assert found.notes[-1].endswith("--only data.test=old.csv.")
    for condition, scores in (("data.test=old.csv", [98.0]), ("data.source=embedded", [99.0, 99.0])):
        assert [line.score for line in compare([*here, other, *embedded], only=[condition]).lines] == scores
    assert not compare(three()).elsewhere


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "generation"}, "no experiment with the task generation has been evaluated; choose one of trans"),
        ({"only": ["model.layers=7"]}, "--only model.layers=7: no experiment .*; model.layers has the values 2"),
        ({"only": ["layers=2"]}, "--only layers=2: no experiment has a parameter with that name and value$"),
        ({"only": ["model.layers"]}, "--only model.layers: add a value, model.layers=VALUE$"),
        ({"against": ["dot"]}, "--against dot: no line matches; choose from attention.mechanism=additive, "),
    ],
)
def test_a_wrong_name_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        compare(three(), **options)


def test_nothing_evaluated_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no experiment has been evaluated yet"):
        compare([Result({"task": "translation"}, {}, {})])


def test_all_forms_say_the_same() -> None:
    found = compare(three(), against=["shaw"])
    titles, rows = table(found)
    assert titles[:6] == ["attention.mechanism", "seeds", "bleu", "95 %", "difference", "chance"]
    assert rows[0][:5] == ["shaw", "3", "91.0", "83.5 to 98.5", ""]
    assert rows[1][4].startswith("-16.7 ± ")
    lines = markdown(found).splitlines()
    assert lines[2] == "| " + " | ".join(rows[0]) + " |"
    written = page(found)
    texts = Texts()
    texts.feed(written)
    assert {cell for row in rows for cell in row if cell} <= texts.found
    ends = [getattr(line, end) for line in found.lines for end in ("low", "high")]
    assert {f"{min(ends):.1f}", f"{max(ends):.1f}"} <= texts.found  # what the dots and lines are drawn on
    assert "http" not in written
    assert json.loads(as_json(found))["lines"][0]["score"] == 91.0
    for row in rows:
        assert any(row[0] in line and row[2] in line for line in terminal(found).splitlines())


@pytest.mark.parametrize("width", [80, 110, 200])
def test_on_a_narrow_terminal_costs_are_left_out_before_a_word_is_cut(width: int) -> None:
    costs = {"train.parameters": 1234.0, "train.tokens_per_second": 99.0, "train.peak_memory_mb": 512.0}
    runs = [replace(one, metrics={**one.metrics, **costs}) for one in three()]
    written = Text.from_ansi(terminal(compare(runs), width)).plain
    assert "…" not in written
    assert all(len(line) <= width for line in written.splitlines())
    assert "additive" in written
    assert ("peak memory, MB" in written.splitlines()[2]) == (width == 200)
    assert ("No room for" in written) == (width < 200)


def test_names_are_text_on_the_page() -> None:
    assert "<script>" not in page(compare([result("<script>", 1, 90.0)]))
