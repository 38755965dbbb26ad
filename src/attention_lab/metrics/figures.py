"""Metric values: their intervals, and the files they are written to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attention_lab.errors import InputError
from attention_lab.records import read_json, write_bytes


def rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


Figure = Callable[[np.ndarray], float]  # row numbers (n,), possibly repeated → the metric of these rows
Ends = tuple[float, float] | tuple[None, None]


def interval(statistic: Figure, rows: int, resamples: int, seed: int) -> Ends:
    """The 95 % percentile bootstrap interval (Efron 1979) of a statistic; None, None if there is only one row, or if an
    end is not finite because the statistic is undefined for some resamples."""
    from scipy.stats import bootstrap

    if rows < 2:
        return None, None
    found = bootstrap(
        (np.arange(rows),),
        statistic,
        n_resamples=resamples,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    if not np.isfinite(found).all():
        return None, None
    return rounded(found.low), rounded(found.high)


def read(path: Path, stage: str) -> dict[str, Any]:
    """Read metrics that `stage` has written.

    Raises:
        InputError: the file does not exist or is damaged.
    """
    if not path.exists():
        raise InputError(f"{path} is missing; `dvc repro {stage}` makes it")
    return read_json(path)


def write(values: dict[str, Any], path: Path) -> None:
    """Write metrics as strictly valid JSON: no NaN, sorted keys.

    Raises:
        ValueError: a value is not finite.
    """
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(text.encode() + b"\n", path)
