"""Expectations held against tables by great-expectations, and what they found, as JSON and as one page.

    tables of facts ─► core expectations ─► Report ─► metrics/validation/STAGE.json ─► metrics/validation/index.html

Reports hold no times and no ids: the same data give the same bytes. What is expected: expectations.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from attention_lab import records
from attention_lab.errors import InputError

STAGES = ("ingest", "clean", "vocab", "split", "encode")
EXAMPLES = 5  # failing rows shown


@dataclass(frozen=True)
class Check:
    """One core expectation by name, its arguments, and what it means to a reader."""

    expectation: str
    arguments: dict[str, Any]
    meaning: str  # completes "the gate expects that …"
    remedy: str = ""


@dataclass(frozen=True)
class Table:
    """A frame with a column `row` that names each of its rows, and what is expected of it."""

    frame: pd.DataFrame
    checks: list[Check]
    unit: str = "rows"


@dataclass(frozen=True)
class Result:
    expectation: str
    meaning: str
    remedy: str
    column: str
    unit: str
    checked: int
    unexpected: int
    examples: list[dict[str, str]]  # row, value
    success: bool

    @property
    def share(self) -> str:
        """How many of those checked are exceptions: "2 of 861 rows"."""
        return f"{self.unexpected:,} of {self.checked:,} {self.unit if self.checked != 1 else self.unit[:-1]}"


@dataclass(frozen=True)
class Report:
    """What a gate found; `rows` is how many records went through it."""

    stage: str
    success: bool
    rows: int
    results: list[Result] = field(default_factory=list)


def validate(stage: str, rows: int, tables: list[Table]) -> Report:
    """Hold every table against its checks."""
    results = [result for table in tables for result in _results(table)]
    return Report(stage, all(result.success for result in results), rows, results)


def together(reports: Sequence[Report], rows: int) -> Report:
    """What a gate found that was asked several times about the same `rows` records, as one report."""
    results = [result for report in reports for result in report.results]
    return Report(reports[0].stage, all(report.success for report in reports), rows, results)


def publish(report: Report, directory: Path) -> None:
    """Write the report as JSON and the page of all reports, then let a good report pass.

    Raises:
        InputError: the gate failed.
    """
    write(report, directory / f"{report.stage}.json")
    enforce(report, page(directory))


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, whole or not at all; the same findings give the same bytes."""
    text = json.dumps(asdict(report), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    records.write_bytes(text.encode() + b"\n", path)


def read(path: Path) -> Report:
    content = records.read_json(path)
    return Report(**(content | {"results": [Result(**result) for result in content["results"]]}))


def page(directory: Path) -> Path:
    """Render the reports in `directory` as one self-contained page, index.html beside them.

    Behind a gate that failed no stage has run with these data, so what a later one has found in others is left out.
    """
    reports = [read(path) for stage in STAGES if (path := directory / f"{stage}.json").is_file()]
    failed = next((number for number, report in enumerate(reports) if not report.success), len(reports))
    records.write_bytes(render(reports[: failed + 1]).encode(), directory / "index.html")
    return directory / "index.html"


def render(reports: Sequence[Report]) -> str:
    """The page of `page` as HTML."""
    import jinja2

    template = Path(__file__).with_name("expectations.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(reports=reports)


def enforce(report: Report, page: Path) -> None:
    """Let a good report pass.

    Args:
        page: where all reports can be read.

    Raises:
        InputError: the gate failed; the message names the first expectation, how many rows, examples and the remedy.
    """
    failed = [result for result in report.results if not result.success]
    if not failed:
        return
    first = failed[0]
    example = first.examples[0] if first.examples else {"row": "", "value": ""}
    shown = f"{example['row']} {_short(example['value'], 40)!r}"
    if first.unexpected:
        what = "is an exception" if first.unexpected == 1 else "are exceptions"
        found = f"{first.share} {what}, e.g. {shown}"
    else:
        found = f"that is not the case: {shown}" if first.examples else "that is not the case"
    more = len(failed) - 1
    others = f" (and {more} more expectation{'s' * (more > 1)})" if more else ""
    remedy = f"{first.remedy}; " if first.remedy else ""
    raise InputError(
        f"the data gate of `{report.stage}` failed: it expects that {first.meaning}, but {found}{others}; "
        f"{remedy}see {page.as_posix()}"
    )


def _results(table: Table) -> list[Result]:
    """Validate once for counts, and what failed once more for the rows: naming rows is slow, and rarely needed."""
    counted = _outcomes(table.frame, table.checks, {"result_format": "BASIC", "partial_unexpected_count": 0})
    failed = [check for check, outcome in zip(table.checks, counted, strict=True) if not outcome["success"]]
    naming = {
        "result_format": "COMPLETE",
        "partial_unexpected_count": EXAMPLES,
        "unexpected_index_column_names": [name for name in ("row",) if name in table.frame],
    }
    named = iter(_outcomes(table.frame, failed, naming))
    results = []
    for check, outcome in zip(table.checks, counted, strict=True):
        missing = [column for column in _columns(check) if column not in table.frame]
        examples: list[dict[str, str]] = []
        if not outcome["success"]:
            examples = _examples(next(named)["result"])
        if missing:
            examples = [{"row": "the table", "value": f"has no column {', '.join(missing)}"}]
        results.append(
            Result(
                expectation=check.expectation,
                meaning=check.meaning,
                remedy=check.remedy,
                column=", ".join(_columns(check)),
                unit=table.unit,
                checked=len(table.frame),
                unexpected=int(outcome["result"].get("unexpected_count", 0)),
                examples=examples,
                success=bool(outcome["success"]),
            )
        )
    return results


def _outcomes(frame: pd.DataFrame, checks: list[Check], result_format: dict[str, Any]) -> list[dict[str, Any]]:
    """What great-expectations says of each check, in their order."""
    if not checks:
        return []
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read on import
    import great_expectations as gx
    from great_expectations import expectations as core

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
        .get_batch({"dataframe": frame})
    )
    suite = gx.ExpectationSuite(
        name="gate",
        expectations=[
            getattr(core, check.expectation)(**check.arguments, meta={"number": number})
            for number, check in enumerate(checks)
        ],
    )
    outcomes = [result.to_json_dict() for result in batch.validate(suite, result_format=result_format).results]
    return sorted(outcomes, key=lambda outcome: outcome["expectation_config"]["meta"]["number"])


def _columns(check: Check) -> list[str]:
    arguments = check.arguments
    if "column_list" in arguments:
        return list(arguments["column_list"])
    return [arguments[name] for name in ("column", "column_A", "column_B") if name in arguments]


def _examples(result: dict[str, Any]) -> list[dict[str, str]]:
    """Failing rows by name, or what was observed where an expectation is about the whole table."""
    rows = result.get("partial_unexpected_index_list")
    if rows and all(isinstance(row, dict) for row in rows):
        shown = []
        for row in rows[:EXAMPLES]:
            values = [value for name, value in row.items() if name != "row"]
            value = ", ".join(_short(value) for value in values)
            shown.append({"row": _short(row.get("row", "")), "value": value})
        return shown
    if "observed_value" in result:
        return [{"row": "found", "value": _short(result["observed_value"], 200)}]
    return []


def _short(value: object, longest: int = 80) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
