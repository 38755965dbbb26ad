"""Tests run on one thread: the tensors are tiny, and threads would only wait for one another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network

LONG = ("pipeline", "notebooks", "docs")  # folders of tests with files that take longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long first: a process that begins it when little else is left lets all others wait."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONG.index(folder) if folder in LONG else len(LONG), "bad_input" in item.path.stem

    items.sort(key=place)
