"""Classification with one or several labels per text: scikit-learn's metrics, and calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from attention_lab.metrics.figures import Figure, interval, rounded


def classification(
    truth: Sequence[str],
    guessed: Sequence[str],
    probabilities: Sequence[Mapping[str, float]],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy, precision, recall, F1 (all 0 to 1), the confusion matrix {truth: {prediction: rows}} and calibration.

    `calibration_error` is the expected calibration error of the predicted labels' probabilities (see
    `calibration_error`), `brier_score` the squared distance between all probabilities and the truth, summed over labels
    (Brier 1950: 0 is perfect, 2 is certain and wrong). `score_low` and `score_high` are the interval of accuracy.

    Args:
        probabilities: one mapping per text, from label to probability; a missing label has probability 0.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    names = sorted({*truth, *guessed})
    left, right = np.array(truth), np.array(guessed)
    correct = left == right
    macro = precision_recall_fscore_support(left, right, average="macro", zero_division=0)
    weighted = precision_recall_fscore_support(left, right, average="weighted", zero_division=0)
    each = precision_recall_fscore_support(left, right, labels=names, zero_division=0)
    confidence = np.array([row.get(name, 0.0) for row, name in zip(probabilities, guessed, strict=True)])
    low, high = interval(accuracy_of_rows(truth, guessed), len(correct), resamples, seed)
    return {
        "accuracy": rounded(accuracy_score(left, right)),
        "precision_macro": rounded(macro[0]),
        "recall_macro": rounded(macro[1]),
        "f1_macro": rounded(macro[2]),
        "f1_weighted": rounded(weighted[2]),
        "calibration_error": rounded(calibration_error(correct, confidence)),
        "brier_score": rounded(_brier_score(truth, probabilities)),
        "labels": _labels(names, each),
        "confusion": {
            name: dict(zip(names, row.tolist(), strict=True))
            for name, row in zip(names, confusion_matrix(left, right, labels=names), strict=True)
        },
        "score_low": low,
        "score_high": high,
    }


def accuracy_of_rows(truth: Sequence[str], guessed: Sequence[str]) -> Figure:
    """Accuracy as a function of row numbers."""
    correct = np.array(truth) == np.array(guessed)
    return lambda rows: float(correct[rows].mean())


def multi_label(
    truth: Sequence[Collection[str]],
    guessed: Sequence[Collection[str]],
    resamples: int,
    seed: int,
    *,
    names: Collection[str] = (),
    probabilities: Sequence[Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Metrics for texts with any number of labels: precision, recall and F1 over all decisions (micro) and averaged
    over labels (macro), `subset_accuracy` (the share of texts whose labels are all correct) and `hamming_loss` (the
    share of wrong decisions; lower is better).

    Given probabilities, also `calibration_error`, over all decisions (see the function of that name), and
    `brier_score`, the mean squared distance between probability and truth (0 to 1; lower is better). `score_low` and
    `score_high` are the interval of `f1_micro`.

    Args:
        names: further labels. Not predicting such a label counts as correct in `hamming_loss`; macro averages are over
            labels that a text has or is predicted to have.
        probabilities: one mapping per text, from label to probability; a missing label has probability 0.
    """
    from sklearn.metrics import accuracy_score, hamming_loss, precision_recall_fscore_support
    from sklearn.preprocessing import MultiLabelBinarizer

    binarizer = MultiLabelBinarizer().fit([*truth, *guessed, names])
    left, right = binarizer.transform(truth), binarizer.transform(guessed)
    micro = precision_recall_fscore_support(left, right, average="micro", zero_division=0)
    each = precision_recall_fscore_support(left, right, average=None, zero_division=0)
    occurring = (left | right).any(0)
    macro = [values[occurring].mean() if occurring.any() else 0.0 for values in each[:3]]
    low, high = interval(f1_of_rows(truth, guessed), len(left), resamples, seed)
    calibration: dict[str, float] = {}
    if probabilities is not None:
        sure = np.array([[row.get(name, 0.0) for name in binarizer.classes_] for row in probabilities])
        calibration = {
            "calibration_error": rounded(calibration_error(left.ravel(), sure.ravel())),
            "brier_score": rounded(np.square(left - sure).mean()),
        }
    return {
        "f1_micro": rounded(micro[2]),
        "f1_macro": rounded(macro[2]),
        "precision_micro": rounded(micro[0]),
        "precision_macro": rounded(macro[0]),
        "recall_micro": rounded(micro[1]),
        "recall_macro": rounded(macro[1]),
        "subset_accuracy": rounded(accuracy_score(left, right)),
        "hamming_loss": rounded(hamming_loss(left, right)),
        **calibration,
        "labels": _labels(binarizer.classes_.tolist(), each),
        "score_low": low,
        "score_high": high,
    }


def f1_of_rows(truth: Sequence[Collection[str]], guessed: Sequence[Collection[str]]) -> Figure:
    """Micro-F1 as a function of row numbers."""
    pairs = [(set(left), set(right)) for left, right in zip(truth, guessed, strict=True)]
    both = np.array([len(left & right) for left, right in pairs])
    either = np.array([len(left) + len(right) for left, right in pairs])

    def f1_micro(rows: np.ndarray) -> float:
        decisions = either[rows].sum()
        return float(2 * both[rows].sum() / decisions) if decisions else 0.0

    return f1_micro


def _labels(names: Sequence[str], each: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """scikit-learn's metrics of each label, by name."""
    return {
        name: {
            "precision": rounded(each[0][index]),
            "recall": rounded(each[1][index]),
            "f1": rounded(each[2][index]),
            "rows": int(each[3][index]),
        }
        for index, name in enumerate(names)
    }


def calibration_error(correct: np.ndarray, confidence: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3): the mean distance between
    confidence and accuracy over equally wide bins of confidence, weighted by their numbers of rows. As in the paper, a
    bin includes its upper edge."""
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [
        abs(correct[which == index].mean() - confidence[which == index].mean()) * (which == index).mean()
        for index in np.unique(which)
    ]
    return float(np.sum(gaps))


def _brier_score(truth: Sequence[str], probabilities: Sequence[Mapping[str, float]]) -> float:
    """Σ over labels of (p − [label is the truth])², averaged over rows."""
    squares = [
        sum(share**2 for name, share in row.items() if name != right) + (1.0 - row.get(right, 0.0)) ** 2
        for right, row in zip(truth, probabilities, strict=True)
    ]
    return float(np.mean(squares))
