"""Texts segmented differently in every epoch: byte-pair encoding with some of its merges left out.

Provilkov et al. 2020, BPE-dropout, arXiv 1910.13267, section 3, algorithm 1: while a word is built up from its
characters, each possible next merge is left out with a certain probability. So the model sees a word in many forms,
learns what its pieces mean and copes better with rare words. At inference, no merge is left out.

Merges are applied here instead of by `tokenizers`, whose generator cannot be seeded, so that no training would be
reproducible. It also drops fewer merges than the algorithm, because stale queue entries give merges another chance.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from attention_lab.batching import Examples
from attention_lab.errors import InputError
from attention_lab.params import Encode
from attention_lab.vocabulary import BOS_ID, EOS_ID, SPECIALS

Ids = NDArray[np.int32]


class Merges:
    """The merges of a byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909).

    Raises:
        InputError: the tokenizer is not a byte-pair encoding.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        if model["type"] != "BPE":
            raise InputError(
                f"train.subword_dropout leaves out merges of a byte-pair encoding, but this tokenizer "
                f"({model['type']}) has none; set vocab.tokenizer to bpe or train.subword_dropout to 0"
            )
        self.number: dict[str, int] = model["vocab"]
        pairs = [(first, second) for first, second in model["merges"]]
        self.rank = {(self.number[a], self.number[b]): rank for rank, (a, b) in enumerate(pairs)}
        self.merged = [self.number[a + b] for a, b in pairs]

    def characters(self, word: str) -> list[int]:
        """The tokens of a word's characters, all of which must be in the vocabulary."""
        return [self.number[character] for character in word]

    def apply(self, characters: list[int], share: float, lots: random.Random) -> list[int]:
        """The tokens of a word: repeatedly apply the possible merge that comes first in the list, but leave out each
        with the probability `share` at every step. The word is done when no merge remains."""
        tokens = list(characters)
        while True:
            best, at = len(self.merged), -1
            for place, pair in enumerate(pairwise(tokens)):
                rank = self.rank.get(pair, best)
                if rank < best and lots.random() >= share:
                    best, at = rank, place
            if at < 0:
                return tokens
            tokens[at : at + 2] = [self.merged[best]]


class _Side:
    """The texts of one side (source or target) as words, recovered from their tokens.

    words: the words of each text; None if they cannot be recovered.
    """

    def __init__(self, rows: Sequence[Ids], tokenizer: PreTrainedTokenizerFast) -> None:
        self.rows, self.merges, self.backend = rows, Merges(tokenizer), tokenizer.backend_tokenizer
        self.characters: dict[str, list[int]] = {}  # word → tokens of its characters
        self.usual: dict[str, list[int]] = {}  # word → its tokens without dropout
        self.words = [self._words(row) for row in rows]

    def cut(self, share: float, limit: int, lots: random.Random) -> list[Ids]:
        """The tokens of each text, with this share of merges left out."""
        found = []
        for row, words in zip(self.rows, self.words, strict=True):
            tokens = [t for word in words or () for t in self.merges.apply(self.characters[word], share, lots)]
            longer = words is None or len(tokens) + 2 > limit
            found.append(row if longer else np.array([BOS_ID, *tokens, EOS_ID], dtype=np.int32))
        return found

    def _words(self, row: Ids) -> list[str] | None:
        inner = row[1:-1].tolist()
        if any(token < len(SPECIALS) for token in inner):
            return None
        text = "".join(self.backend.id_to_token(token) for token in inner)
        found = [word for word, _ in self.backend.pre_tokenizer.pre_tokenize_str(text)]
        for word in found:
            if word not in self.usual:
                self.characters[word] = self.merges.characters(word)
                self.usual[word] = self.merges.apply(self.characters[word], 0.0, random.Random(0))
        return found if [token for word in found for token in self.usual[word]] == inner else None


class Resegmented(Examples):
    """Examples whose texts are segmented anew in each epoch; the draw is a function of (seed, epoch).

    A text keeps its segmentation if its tokens do not determine it, because it has unknown characters or was cut. So
    does, for one epoch, a text that would exceed its limit. Batches are formed by the lengths without dropout.

    Args:
        share: share of merges that are left out; 0.1 in the paper. limits: the longest texts. target_tokenizer: the
            target's own tokenizer; None: `tokenizer` is for both.

    Raises:
        InputError: the tokenizer has no merges, or the examples have answer spans or windows.
    """

    def __init__(
        self,
        examples: Examples,
        tokenizer: PreTrainedTokenizerFast,
        share: float,
        limits: Encode,
        seed: int,
        target_tokenizer: PreTrainedTokenizerFast | None = None,
    ) -> None:
        if examples.span is not None or examples.shared is not None:
            raise InputError(
                "train.subword_dropout cannot re-cut texts whose answers or windows are located by their tokens; "
                "set it to 0"
            )
        super().__init__(examples.source, examples.target, examples.label, pad=examples.pad)
        self.share, self.limits, self.seed = share, limits, seed
        self.sides = [_Side(self.source, tokenizer)]
        if self.target is not None:
            self.sides.append(_Side(self.target, target_tokenizer or tokenizer))

    def of_epoch(self, number: int) -> Examples:
        lots = random.Random(f"{self.seed} {number}")
        limits = (self.limits.max_source_tokens, self.limits.max_target_tokens)
        source, *target = [side.cut(self.share, limit, lots) for side, limit in zip(self.sides, limits, strict=False)]
        return Examples(source, target[0] if target else None, self.label, pad=self.pad)
