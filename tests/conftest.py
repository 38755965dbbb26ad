"""Tests run on one thread: the tensors are tiny, and threads would only wait for one another."""

from __future__ import annotations

import os

import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests first: they take longest, and at the end all other processes would wait for them."""
    items.sort(key=lambda item: ("pipeline" not in item.path.parts, "bad_input" in item.path.stem))
