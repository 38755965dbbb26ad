from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab.batching import Examples, TokenBuckets

lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=80).map(np.array)


@settings(deadline=None)
@given(lengths=lengths, tokens=st.integers(10, 400), seed=st.none() | st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_row_is_in_one_batch_and_batches_keep_to_the_budget(lengths, tokens, seed, epoch) -> None:
    batches = TokenBuckets(lengths, tokens, seed=seed).epoch(epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max(0).sum() <= tokens


@settings(deadline=None)
@given(lengths=lengths, seed=st.integers(0, 9))
def test_epochs_differ_in_order_but_not_in_number(lengths, seed) -> None:
    buckets = TokenBuckets(lengths, 100, seed=seed)
    sizes = [sorted(len(batch) for batch in buckets.epoch(epoch)) for epoch in range(3)]
    assert sizes[0] == sizes[1] == sizes[2]
    assert buckets.epoch(1) == buckets.epoch(1)


def test_hardly_any_padding_and_new_batches_in_each_epoch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 25, size=(5000, 2))
    buckets = TokenBuckets(lengths, 2000, seed=1)
    batches = buckets.epoch(0)
    assert batches != buckets.epoch(1)
    target = lengths[:, 1]
    filled = target.sum() / sum(len(batch) * target[batch].max() for batch in batches)
    assert filled > 0.97


def test_a_batch_is_padded_and_masked() -> None:
    source = [np.array([2, 7, 3]), np.array([2, 8, 9, 9, 3]), np.array([2, 3])]
    target = [np.array([2, 5, 3]), np.array([2, 3]), np.array([2, 6, 6, 6, 3])]
    data = Examples(source, target, pad=0)
    batch = data[[2, 1]]
    assert batch.source.tolist() == [[2, 3, 0, 0, 0], [2, 8, 9, 9, 3]]
    assert batch.source_mask.tolist() == [[True, True, False, False, False], [True] * 5]
    assert batch.target.tolist() == [[2, 6, 6, 6, 3], [2, 3, 0, 0, 0]]
    assert data.predictions([2, 1]) == 5
    assert Examples(source, pad=0).predictions([2, 1]) == 5  # a text by itself: all its tokens but the first
    labels = Examples(source, label=np.array([1, 0, 2]), pad=0)
    assert labels[[2, 0]].label.tolist() == [2, 1]
    assert labels.predictions([2, 0]) == 2
