"""The classical baseline for language models: predicting each character from those before it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

START, END = "\x02", "\x03"


class CharacterNGram:
    """Interpolated absolute discounting (Ney, Essen & Kneser 1994; Chen & Goodman 1999, section 2.6): subtract
    `discount` from the count of every character seen after a context, and give that mass to the shorter context.

        p(c | h) = max(n(hc) − d, 0) / n(h) + d · kinds(h) / n(h) · p(c | h without its first character)

    kinds(h) is the number of different characters that followed h. The empty context falls back on 1 / (characters +
    1), where the 1 stands for characters that were never seen.

    Args:
        texts: the training texts. order: n, the number of context characters plus one.
    """

    def __init__(self, texts: list[str], order: int, discount: float = 0.75) -> None:
        self.order, self.discount = order, discount
        self.following: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            marked = START * (order - 1) + text + END
            for end in range(order - 1, len(marked)):
                for length in range(order):
                    self.following[marked[end - length : end]][marked[end]] += 1
        self.totals = {context: counts.total() for context, counts in self.following.items()}

    def probability(self, context: str, character: str) -> float:
        """p(character | context), for a context of at most order − 1 characters."""
        found = 1.0 / (len(self.following[""]) + 1)
        for length in range(len(context) + 1):
            suffix = context[len(context) - length :]
            total = self.totals.get(suffix)
            if total is None:
                break
            counts = self.following[suffix]
            kept = max(counts[character] - self.discount, 0.0) if character in counts else 0.0
            found = (kept + self.discount * len(counts) * found) / total
        return found

    def nats(self, text: str) -> float:
        """−log p of the text, including its end."""
        marked = START * (self.order - 1) + text + END
        return -sum(
            math.log(self.probability(marked[end - self.order + 1 : end], marked[end]))
            for end in range(self.order - 1, len(marked))
        )
