"""A unigram vocabulary, trained deterministically.

Kudo 2018, "Subword Regularization", section 3.2, https://arxiv.org/abs/1804.10959: every piece has a probability, a
word's probability is the sum over all its segmentations, and the vocabulary shrinks from many candidates by dropping
the pieces whose loss hurts the likelihood least. The trainer of the `tokenizers` library does the same, but in the
order of a randomly seeded hash map: its scores differ from run to run, so its files cannot be compared by their bytes.

A word is a lattice: an edge (start, end, piece) for every piece that occurs in it. The lattices of all words are laid
into flat arrays, so that one step of EM is a few numpy calls per character position.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LONGEST = 16  # characters of a piece
WORD = 64  # characters of a word; longer ones are cut, so that products of probabilities stay above zero
CANDIDATES = 10  # per entry of the final vocabulary
KEEP = 0.75  # share of pieces that survives a round
DIGITS = 6  # of a score: the last bits of exp and log differ from machine to machine

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Lattice:
    """Edges of all words, sorted by where they end; nodes are numbered through (a word of n characters has n + 1)."""

    start: Ints  # (edges,) node
    end: Ints  # (edges,) node
    piece: Ints  # (edges,)
    owner: Ints  # (edges,) word
    layers: list[slice]  # edges whose end is the 1st, 2nd … character of their word
    first: Ints  # (words,) first node
    last: Ints  # (words,) last node
    count: Floats  # (words,)


def train(words: Counter[str], alphabet: list[str], *, size: int, min_frequency: int) -> list[tuple[str, float]]:
    """At most `size` pieces with their log-probabilities, best first; all of `alphabet` is among them.

    Args:
        words: how often each word occurs; words are cut at characters outside `alphabet`.
        size: at least as many as `alphabet` has.
        min_frequency: how often a piece of several characters occurs at least.
    """
    known = _cut(words, frozenset(alphabet))
    weights = _candidates(known, alphabet, limit=CANDIDATES * size, min_frequency=min_frequency)
    names, length = list(weights), np.array([len(name) for name in weights])
    weight = np.array(list(weights.values()), dtype=np.float64)
    lattice, inside = _lattice(known, names), _lattice([(name, 1) for name in names], names)
    while True:
        for _ in range(2):
            # A character that no best segmentation uses keeps a trace of weight: it must stay usable.
            weight = np.where(weight > 0, np.maximum(_expect(lattice, weight, length), 1e-3), 0.0)
        alive = np.flatnonzero(weight)
        if len(alive) <= size:
            break
        loss = np.where(length == 1, np.inf, np.round(_loss(inside, weight), DIGITS))
        target = max(size, int(len(alive) * KEEP))
        dropped = sorted(alive.tolist(), key=lambda i: (-loss[i], names[i]))[target:]
        weight[dropped] = 0.0
    scores = np.round(np.log(weight[alive] / weight.sum()), DIGITS)
    return sorted(zip([names[i] for i in alive], scores.tolist(), strict=True), key=lambda item: (-item[1], item[0]))


def _cut(words: Counter[str], alphabet: frozenset[str]) -> list[tuple[str, int]]:
    """Words without their unknown characters and of bounded length, sorted."""
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for part in "".join(c if c in alphabet else "\0" for c in word).split("\0"):
            for start in range(0, len(part), WORD):
                parts[part[start : start + WORD]] += count
    return sorted(parts.items())


def _candidates(words: list[tuple[str, int]], alphabet: list[str], *, limit: int, min_frequency: int) -> dict[str, int]:
    """Substrings that occur often enough, the `limit` with the most characters covered, and all characters.

    A substring is frequent only if the one shorter by a character is, so lengths are counted one after the other.
    """
    single = Counter(dict.fromkeys(alphabet, 1))
    for word, count in words:
        for character in word:
            single[character] += count
    found: dict[str, int] = {}
    alive = set(alphabet)
    for length in range(2, LONGEST + 1):
        counted: Counter[str] = Counter()
        for word, count in words:
            for start in range(len(word) - length + 1):
                piece = word[start : start + length]
                if piece[:-1] in alive:
                    counted[piece] += count
        frequent = {piece: count for piece, count in counted.items() if count >= max(2, min_frequency)}
        if not frequent:
            break
        found.update(frequent)
        alive = set(frequent)
    best = sorted(found, key=lambda piece: (-found[piece] * len(piece), piece))[:limit]
    return dict(sorted(single.items())) | {piece: found[piece] for piece in best}


def _lattice(words: list[tuple[str, int]], names: list[str]) -> Lattice:
    number = {name: i for i, name in enumerate(names)}
    longest = max(map(len, names))
    edges: list[tuple[int, int, int, int, int]] = []  # step, start, end, piece, owner
    first, last, node = [], [], 0
    for owner, (word, _) in enumerate(words):
        for end in range(1, len(word) + 1):
            for start in range(max(0, end - longest), end):
                piece = number.get(word[start:end])
                if piece is not None:
                    edges.append((end, node + start, node + end, piece, owner))
        first.append(node)
        last.append(node + len(word))
        node += len(word) + 1
    table = np.array(edges, dtype=np.int64)
    table = table[np.argsort(table[:, 0], kind="stable")]
    bounds = np.searchsorted(table[:, 0], np.arange(1, table[-1, 0] + 2)).tolist()
    _, start_, end_, piece_, owner_ = (np.ascontiguousarray(column) for column in table.T)
    return Lattice(
        start=start_,
        end=end_,
        piece=piece_,
        owner=owner_,
        layers=[slice(a, b) for a, b in pairwise(bounds)],
        first=np.array(first, dtype=np.int64),
        last=np.array(last, dtype=np.int64),
        count=np.array([count for _, count in words], dtype=np.float64),
    )


def _expect(lattice: Lattice, weight: Floats, length: Ints) -> Floats:
    """How often each piece is used, over all segmentations of all words (the E step, forward-backward).

    Each probability is multiplied by a constant per character, the inverse of a typical character's. All
    segmentations of a word get the same factor, so shares do not change, and long words do not underflow.
    """
    used = weight > 0
    probability = weight / weight.sum()
    typical = -(weight[used] * np.log(probability[used])).sum() / (weight * length).sum()
    scaled = (probability * np.exp(np.minimum(typical * length, 300.0)))[lattice.piece]
    nodes = int(lattice.last[-1]) + 1
    forward, backward = np.zeros(nodes), np.zeros(nodes)
    forward[lattice.first] = 1.0
    backward[lattice.last] = 1.0
    for layer in lattice.layers:
        np.add.at(forward, lattice.end[layer], forward[lattice.start[layer]] * scaled[layer])
    for layer in reversed(lattice.layers):
        np.add.at(backward, lattice.start[layer], backward[lattice.end[layer]] * scaled[layer])
    total = forward[lattice.last]
    factor = np.divide(lattice.count, total, out=np.zeros_like(total), where=total > 0)[lattice.owner]
    share = forward[lattice.start] * scaled * backward[lattice.end] * factor
    expected: Floats = np.bincount(lattice.piece, share, minlength=len(weight)).astype(np.float64)
    return expected


def _loss(inside: Lattice, weight: Floats) -> Floats:
    """How much log-likelihood goes with each piece: its uses times what its best segmentation by others costs more.

    `inside` has the pieces themselves as words.
    """
    with np.errstate(divide="ignore"):
        score = np.log(weight / weight.sum())
    whole = (inside.start == inside.first[inside.owner]) & (inside.end == inside.last[inside.owner])
    cost = np.where(whole, -np.inf, score[inside.piece])
    best = np.full(int(inside.last[-1]) + 1, -np.inf)
    best[inside.first] = 0.0
    for layer in inside.layers:
        np.maximum.at(best, inside.end[layer], best[inside.start[layer]] + cost[layer])
    used = weight > 0
    loss = np.zeros(len(weight))
    loss[used] = weight[used] * (score[used] - best[inside.last][used])
    return loss
