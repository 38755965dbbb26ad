"""Generation: what a language model says of a text, and how it goes on."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_models import config

from attention_lab import params, vocabulary
from attention_lab.batching import Batch, Examples
from attention_lab.evaluation import characters
from attention_lab.tasks import TASKS
from attention_lab.transformer import build

ROOT = Path(__file__).parents[3]
OPTIONS = params.load(ROOT / "params.yaml").evaluate
WORDS = "the old dog sees a small cat and sleeps"
TASK = TASKS["generation"]


def tokenizer() -> Any:
    options = params.load(ROOT / "params.yaml").vocab.model_copy(update={"min_frequency": 1})
    return vocabulary.train([WORDS], options, None)


def batch(texts: list[str]) -> Batch:
    ids = [np.array(row, dtype=np.int32) for row in tokenizer()(texts)["input_ids"]]
    return Examples(ids, pad=vocabulary.PAD_ID)[list(range(len(texts)))]


def model() -> Any:
    torch.manual_seed(0)
    return build(config(architecture="decoder", vocabulary=len(tokenizer()))).eval()


def predict(texts: list[str], **options: Any) -> list[dict[str, Any]]:
    return TASK.predict(model(), batch(texts), tokenizer(), OPTIONS.model_copy(update=options))


def test_nats_are_those_of_reading_token_by_token_whatever_else_is_in_the_batch() -> None:
    texts = ["the old dog sleeps", "a cat", "the small dog sees the old cat"]
    for text, found in zip(texts, predict(texts), strict=True):
        network, expected = model(), 0.0
        caches, tokens = network.caches(), batch([text]).source[0]
        for now, after in itertools.pairwise(tokens):
            expected -= float(network.step(now.view(1, 1), caches).log_softmax(-1)[0, after].detach())
        assert found["nats"] == pytest.approx(expected, rel=1e-5)
        assert found["tokens"] == len(text.split()) + 1  # and the end


def test_windows_of_a_long_text_that_stand_without_its_first_say_nothing_but_how_surprising_they_are() -> None:
    network, windows = model(), batch(["dog sees a small", "the old dog sees"])
    later = replace(windows, shared=torch.tensor([2, 3]))
    found = TASK.predict(network, later, tokenizer(), OPTIONS)
    assert [one["prediction"] for one in found] == ["", ""]
    assert [one["tokens"] for one in found] == [4, 3]
    both = replace(windows, shared=torch.tensor([2, 0]))
    assert TASK.predict(network, both, tokenizer(), OPTIONS)[0]["nats"] == pytest.approx(found[0]["nats"])


def test_it_goes_on_after_the_prompt_and_the_same_alone_as_in_a_batch() -> None:
    texts = ["the old dog sleeps", "a cat", "the small dog sees the old cat"]
    together = predict(texts, prompt_tokens=3, max_tokens=6)
    for text, found in zip(texts, together, strict=True):
        assert found["prediction"].startswith(" ".join(text.split()[:2]))
    assert predict(texts[:1], prompt_tokens=3, max_tokens=6)[0]["prediction"] == together[0]["prediction"]
    whole = predict(texts, prompt_tokens=None, max_tokens=6)
    assert all(found["prediction"].startswith(text) for text, found in zip(texts, whole, strict=True))


def test_temperature_zero_is_the_most_probable_token_each_time() -> None:
    network, words = model(), tokenizer()
    tokens = batch(["the old"]).source[:, :-1]  # without the end
    for _ in range(5):
        hidden, _ = network(tokens)
        logits = network.project(hidden[:, -1])
        logits[:, [network.config.pad, network.config.start]] = -torch.inf
        tokens = torch.cat((tokens, logits.argmax(-1, keepdim=True)), 1)
    written = tokens[0].tolist()
    if network.config.end in written:
        written = written[: written.index(network.config.end)]
    found = predict(["the old"], prompt_tokens=None, temperature=0.0, max_tokens=5)
    assert found[0]["prediction"] == words.decode(written, skip_special_tokens=True)


def test_entropy_is_reported_where_it_is_known() -> None:
    rows = pd.DataFrame({"text": ["ab cd", "ef"], "prediction": ["ab cd", "gh"], "nats": [6.0, 3.0], "tokens": [3, 2]})
    rows["characters"] = [5, 2]
    found = TASK.measure(rows.assign(true_nats=[4.0, 3.5]), OPTIONS, 1)
    assert found["loss"] == pytest.approx(9.0 / 5)
    assert found["entropy"] == pytest.approx(7.5 / 5)
    assert found["excess"] == pytest.approx(9.0 / 7.5 - 1.0)
    assert found["character_probability"] == pytest.approx(math.exp(-9.0 / 7), abs=1e-6)
    assert "entropy" not in TASK.measure(rows.assign(true_nats=[4.0, None]), OPTIONS, 1)


def test_a_text_that_was_read_in_part_counts_with_that_part() -> None:
    rows = pd.DataFrame({"text": ["ab cd", "ef" * 9], "prediction": ["", ""], "nats": [6.0, 3.0], "tokens": [3, 2]})
    rows["characters"] = [5, 2]
    found = TASK.measure(rows.assign(true_nats=[4.0, 3.5]), OPTIONS, 1)
    assert found["character_probability"] == pytest.approx(math.exp(-9.0 / 7), abs=1e-6)
    assert "entropy" not in found  # that of the whole text is known, and not of its beginning
    assert TASK.headline(rows)(np.arange(2)) == pytest.approx(math.exp(-9.0 / 7))
    words = tokenizer()
    ids = words("the old dog sees a cat")["input_ids"]
    assert characters(words, "the old dog sees a cat", None) == 22
    assert characters(words, "the old dog sees a cat", len(ids)) == 22
    assert characters(words, "the old dog sees a cat", 5) == len("the old dog")


def test_a_longer_memory_is_the_better_baseline() -> None:
    train = pd.DataFrame({"text": ["the old dog sleeps", "the old cat sleeps", "a small dog sees the cat"] * 3})
    test = pd.DataFrame({"text": ["the old dog sees the cat"], "characters": [24]})
    found = TASK.baselines(train, test, OPTIONS, 1)
    part = TASK.baselines(train, test.assign(text=["the old dog sees the cat and more"]), OPTIONS, 1)
    assert part == found  # what was not read does not count
    assert found["classical"]["character_probability"] > 2 * found["baseline"]["character_probability"]
    bits = -math.log2(found["baseline"]["character_probability"])
    assert found["baseline"]["bits_per_character"] == pytest.approx(bits, abs=1e-4)


def test_the_trivial_loss_counts_every_token_but_the_first() -> None:
    rows = batch(["the old dog", "the cat"])
    # the twice, old, dog and cat once, the end twice: seven tokens; the smoothing adds one to each of the vocabulary
    size = int(rows.source.max()) + 1
    counts = torch.bincount(rows.source[:, 1:][rows.source_mask[:, 1:]], minlength=size).double() + 1.0
    expected = -(counts / counts.sum()).log()[rows.source[:, 1:][rows.source_mask[:, 1:]]].mean()
    assert TASK.trivial_nll([rows], [rows]) == pytest.approx(float(expected))
