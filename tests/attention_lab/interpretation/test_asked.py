"""What a model says of rows, and what hiding words does to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from explainable import asked_of, words_hidden

from attention_lab.interpretation.asked import choices, loss, predicted, truth
from attention_lab.vocabulary import UNK_ID

ARCHITECTURES = ["encoder_decoder", "classifier", "spans", "decoder"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_choices_are_distributions_and_what_is_said_is_one_of_them(architecture: str) -> None:
    asked = asked_of(architecture)
    found = choices(asked.model, asked.batch)
    assert asked.said.shape == (3, len(found))
    for choice in found:
        torch.testing.assert_close(choice.exp().sum(-1), torch.ones(3), check_dtype=False)
    logs = asked.log_probabilities()
    assert len(logs) == (len(found) if asked.writes else 1)
    if architecture == "classifier":
        torch.testing.assert_close(logs[0], found[0].max(-1).values)


def test_several_labels_are_as_many_choices() -> None:
    asked = asked_of("classifier", task="multi_label")
    logits, _ = asked.model(asked.batch.source, asked.batch.source_mask)
    right = torch.where(logits > 0.0, logits.sigmoid(), 1.0 - logits.sigmoid()).prod(-1)
    torch.testing.assert_close(asked.log_probabilities()[0].exp(), right, check_dtype=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hiding_reads_the_words_as_unknown_and_asks_for_the_same(architecture: str) -> None:
    asked = asked_of(architecture)
    row = 1
    nothing, two = asked.hiding([words_hidden(asked, row), words_hidden(asked, row, 0, 2)])
    source = asked.batch.source.clone()
    for token, owner in enumerate(asked.sources[row].owners):
        if owner in (0, 2):
            source[row, token] = UNK_ID
    changed = replace(asked, batch=replace(asked.batch, source=source))
    for logs, same in ((nothing, asked), (two, changed)):
        by_output = [float(log[row].detach()) for log in same.log_probabilities()]
        words = np.zeros(len(asked.outputs(row).words))
        for log, owner in zip(by_output, asked.outputs(row).owners, strict=False):
            if owner is not None:
                words[owner] += log
        np.testing.assert_allclose(logs, words, rtol=1e-5)
    assert not np.allclose(nothing, two)


def test_hiding_nothing_asks_for_nothing() -> None:
    assert asked_of("classifier").hiding([]) == []


def test_the_loss_is_of_the_truth_and_not_of_what_is_said() -> None:
    asked = asked_of("classifier")
    wanted = truth(asked.model, asked.batch)
    assert (wanted != predicted(asked.model, asked.batch)).any()
    by_hand = -choices(asked.model, asked.batch)[0].gather(-1, wanted).squeeze(-1)
    torch.testing.assert_close(loss(asked.model, asked.batch), by_hand, check_dtype=False)


def test_padding_of_a_target_is_no_loss() -> None:
    asked = asked_of("encoder_decoder")
    lengths = asked.reading.lengths[:, 1] - 1
    assert len(set(lengths.tolist())) > 1
    logs = torch.stack(asked.log_probabilities(), 1)
    by_hand = torch.stack([-logs[row, :length].mean() for row, length in enumerate(lengths)])
    torch.testing.assert_close(loss(asked.model, asked.batch), by_hand, check_dtype=False)
