"""Tests run on one thread: the tensors are tiny, and threads would only wait for one another."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
