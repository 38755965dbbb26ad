"""Several labels a text: one yes or no for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_models import VOCABULARY, config
from torch.nn import functional as F

from attention_lab import params
from attention_lab.batching import Batch, examples
from attention_lab.regularisation import divergence
from attention_lab.tasks import TASKS
from attention_lab.transformer import build

ROOT = Path(__file__).parents[3]
OPTIONS = params.load(ROOT / "params.yaml").evaluate
TASK = TASKS["multi_label"]
LABELS = ("plot", "acting", "music", "style", "ending")
HAS: list[list[int]] = [[0, 3], [], [1]]  # the labels of each text


def batch(has: list[list[int]] = HAS) -> Batch:
    rng = np.random.default_rng(2)
    encoded = pd.DataFrame({"source": [rng.integers(5, VOCABULARY, 7).astype(np.int32) for _ in has], "labels": has})
    return examples(encoded, pad=0, classes=len(LABELS))[list(range(len(has)))]


def model() -> Any:
    torch.manual_seed(0)
    built = build(config(architecture="classifier", task="multi_label", labels=LABELS)).eval()
    torch.nn.init.normal_(built.classes.weight, std=2.0)
    return built


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_pytorch_summed_over_texts_and_labels(smoothing: float) -> None:
    network, rows = model(), batch()
    logits, _ = network(rows.source, rows.source_mask)
    truth = torch.zeros(3, 5).index_put_((torch.tensor([0, 0, 2]), torch.tensor([0, 3, 1])), torch.tensor(1.0))
    found = TASK.loss(network, rows, smoothing)
    nll = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    smoothed = F.binary_cross_entropy_with_logits(logits, truth * (1 - smoothing) + smoothing / 2, reduction="sum")
    torch.testing.assert_close(found.nll, nll)
    torch.testing.assert_close(found.smoothed, smoothed)
    assert int(found.correct) == int(((logits > 0) == truth.bool()).sum())
    assert len(found.states) == 3 * 5  # as many predictions as `Examples.predictions` counts
    found.smoothed.backward()


def test_two_passes_are_compared_label_by_label() -> None:
    """R-drop asks a loss for its distributions: here one of two classes for each label."""
    network, rows = model(), batch()
    first = TASK.loss(network, rows, 0.0)
    with torch.no_grad():
        network.classes.bias += 0.5
    second = TASK.loss(network, rows, 0.0)
    p, q = (torch.cat((F.sigmoid(x.states[:, 1:]), F.sigmoid(-x.states[:, 1:])), 1) for x in (first, second))
    torch.testing.assert_close(divergence(first, second), 0.5 * ((p - q) * (p.log() - q.log())).sum())


def test_all_labels_from_the_threshold_on_are_predicted() -> None:
    network, rows = model(), batch()
    shares = network(rows.source, rows.source_mask)[0].sigmoid()
    seen = set()
    for threshold in (0.0, 0.3, 0.5, 0.9, 1.0):
        found = TASK.predict(network, rows, None, OPTIONS.model_copy(update={"threshold": threshold}))
        for answer, row in zip(found, shares.tolist(), strict=True):
            wanted = [share >= threshold for share in row]
            assert answer["prediction"] == sorted(n for n, there in zip(LABELS, wanted, strict=True) if there)
            assert answer["probabilities"] == pytest.approx(dict(zip(LABELS, row, strict=True)))
            together = np.prod([share if there else 1 - share for share, there in zip(row, wanted, strict=True)])
            assert answer["probability"] == pytest.approx(together, rel=1e-5)
            seen.add(len(answer["prediction"]))
    assert {0, 5} < seen  # none, all and some


def test_the_trivial_loss_is_that_of_the_frequency_of_each_label() -> None:
    train, valid = batch([[0, 3], [], [0], [1, 0]]), batch([[0], [2]])
    share = (np.array([3, 1, 0, 1, 0]) + 1) / 6
    has = np.array([[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]])
    expected = -np.mean(has * np.log(share) + (1 - has) * np.log(1 - share))
    assert TASK.trivial_nll([train], [valid]) == pytest.approx(expected)


ROWS = pd.DataFrame(
    {
        "text": ["good plot", "bad plot", "bad music", "bad plot and bad music", "fine", "bad music again"],
        "labels": [[], ["plot"], ["music"], ["music", "plot"], [], ["music"]],
    }
)


def test_labels_that_no_text_has_count_as_decisions() -> None:
    said = ROWS.assign(prediction=[[], ["plot"], ["music"], ["music"], [], ["plot"]])
    said["probabilities"] = [{"plot": 0.5, "music": 0.5, "style": 0.0}] * 6
    found = TASK.measure(said, OPTIONS, 1)
    assert found["hamming_loss"] == pytest.approx(3 / (6 * 3), abs=1e-6)
    assert found["subset_accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert found["brier_score"] == pytest.approx(12 * 0.25 / (6 * 3), abs=1e-6)
    assert found["calibration_error"] == pytest.approx(12 * abs(5 / 12 - 0.5) / (6 * 3), abs=1e-6)
    assert found["f1_micro"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2), abs=1e-6)
    # music: 2 hits, 1 missed; plot: 1 hit, 1 missed, 1 too many; style takes no part in the mean
    assert found["f1_macro"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 4) / 2, abs=1e-6)


def test_baselines_know_frequencies_and_words() -> None:
    found = TASK.baselines(pd.concat([ROWS] * 3), ROWS, OPTIONS, 1)
    assert found["baseline"]["what"] == "the 2 most frequent labels for every text"
    assert found["baseline"]["f1_micro"] == pytest.approx(2 * 5 / (12 + 5), abs=1e-6)
    assert found["classical"]["f1_micro"] > 0.9
    never = TASK.baselines(ROWS, ROWS, OPTIONS.model_copy(update={"threshold": 1.0}), 1)
    assert never["classical"]["f1_micro"] == 0.0
