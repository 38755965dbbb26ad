"""Translation: what is said without attention. The rest is in test_metrics.py and the decoding's tests."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from attention_lab import params
from attention_lab.tasks import TASKS, translation

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_the_classical_baseline_remembers_the_nearest_sentence() -> None:
    train = pd.DataFrame(
        {
            "source": ["the dog sees a cat", "a child sleeps", "the old man reads a book"],
            "target": ["der Hund sieht eine Katze", "ein Kind schläft", "der alte Mann liest ein Buch"],
        }
    )
    test = pd.DataFrame(
        {
            "source": ["The dog sees a small cat", "the child sleeps", "nothing of that"],
            "target": ["der Hund sieht eine Katze", "das Kind schläft", "nichts davon"],
        }
    )
    found = TASKS["translation"].baselines(train, test, params.load(PARAMS).evaluate, 1)
    assert list(found) == ["baseline", "classical"]
    assert found["baseline"]["exact_match"] == 0.0
    assert found["classical"]["exact_match"] == round(1 / 3, 6)
    assert found["classical"]["bleu"] > 10 * found["baseline"]["bleu"]
    assert set(found["classical"]) == {"what", "bleu", "chrf", "exact_match"}


def test_words_of_every_tenth_text_do_not_say_what_is_near() -> None:
    known = pd.Series([*(f"the the the word{n} sleeps" for n in range(40)), "a cat eats"])
    found = translation._nearest(known, pd.Series(["the the sleeps eats", "the sleeps", "cat sleeps"]))
    assert found.tolist() == [40, 0, 40]  # by eats; nothing here is rare; by cat
