"""Examples as a report gets them, with made-up weights and hostile words; each size is another prime."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_lab.attention import Place
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.traces import Of, Step, Text, Trace

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    "שלום",
    "🙂",
    "\"quoted\" & 'single'",
    "<img src=x>",
    "x" * 10_000,
]
EVALUATE = {
    "task": "translation",
    "split": "test",
    "examples": 3,
    "score": 46.9,
    "score_name": "bleu",
    "score_low": 41.0,
    "score_high": 53.0,
    "baseline": {"what": "the source, untranslated", "bleu": 0.2},
}
MEASURED = {
    "error_rate": 0.25,
    "low": 0.2,
    "high": 0.3,
    "way": "of each target word",
    "row": "predicting",
    "layer": 1,
    "head": 2,
    "random": 0.9,
    "diagonal": 0.6,
    "sentences": 3,
    "chosen_on": 3,
    "rows": {"predicting": 0.25, "input": 0.8},
    "grid": [[[0.4, 0.5, 0.25]], [[0.9, 0.8, 0.85]]],
}
METRICS: dict[str, Any] = {
    "task": "translation",
    "mechanism": "scaled_dot_product",
    "weights": "probabilities",
    "alignment": MEASURED,
    "reason": None,
    "sentences": ["alignment error rate 0.25"],
    "reading": ["A & B <read> this."],
}
CLASSED: dict[str, Any] = {
    **{name: value for name, value in METRICS.items() if name != "alignment"},
    "task": "sentiment",
    "rationale": {
        "average_precision": 0.7,
        "low": 0.6,
        "high": 0.8,
        "method": "attention layer 1",
        "random": 0.3,
        "constant": 0.2,
        "texts": 9,
        "chosen_on": 9,
        "methods": {"attention layer 1": 0.7, "rollout": 0.5},
    },
}
FACTS = {"task": "translation", "parameters": "801,920"}


def text(words: list[str], pieces: int = 1) -> Text:
    """<s>, each word in so many pieces, </s>."""
    tokens = [word if pieces == 1 else f"{word[:20]}·{piece}" for word in words for piece in range(pieces)]
    owners = [number for number in range(len(words)) for _ in range(pieces)]
    return Text(["<s>", *tokens, "</s>"], words, [None, *owners, None])


def drawn(generator: np.random.Generator, *shape: int, signed: bool = False) -> np.ndarray:
    """Weights whose rows sum to 1, or any numbers."""
    if signed:
        return generator.normal(size=shape)
    weights = generator.exponential(size=shape) ** 2
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def trace(
    of: Of, source: Text, target: Text, *, layers: int = 2, heads: int = 3, seed: int = 0, signed: bool = False
) -> Trace:
    generator = np.random.default_rng(seed)
    read, written = len(source.tokens), len(target.tokens) - 1
    causal = np.tril(drawn(generator, layers, heads, written, written))
    weights: dict[Place, np.ndarray] = {
        "encoder_self": drawn(generator, layers, heads, read, read),
        "decoder_self": causal,
        "cross": drawn(generator, layers, heads, written, read, signed=signed),
    }
    steps = [Step(0.5, [(token, 0.5), ("other", 0.25)]) for token in target.tokens[1:]]
    return Trace(of, source, target, weights, steps)


def translated(words: list[str], written: list[str], *, right: bool = True, pieces: int = 1, **changes: Any) -> Example:
    """An example of a translation, whose gold links word i to word i."""
    source, target = text(words, pieces), text(written, pieces)
    passes = [trace("both", source, target, **changes)]
    if not right:
        passes = [
            trace("output", source, text(["wrong", "words"]), seed=1),
            trace("reference", source, target, **changes),
        ]
    return Example(
        row="a<b>.csv:1",
        source=" ".join(words),
        reference=" ".join(written),
        prediction=" ".join(written) if right else "wrong words",
        right=right,
        probability=None,
        keys=words,
        queries=written,
        weights=np.full((len(written), len(words)), 1 / len(words)),
        gold=np.eye(len(written), len(words), dtype=bool),
        shown="layer 1, head 2",
        inputs={"source": " ".join(words)},
        traces=passes,
    )


def classified(words: list[str], label: str, said: str) -> Example:
    """An example of a classifier, whose gold is its second word."""
    source = text(words)
    weights = drawn(np.random.default_rng(5), 2, 3, len(source.tokens), len(source.tokens))
    gold = np.zeros((1, len(words)), dtype=bool)
    gold[0, 1] = True
    return Example(
        row="b.csv:2",
        source=" ".join(words),
        reference=label,
        prediction=said,
        right=label == said,
        probability=0.87654,
        keys=words,
        queries=[],
        weights=weights[1].mean(0)[:1, 1:-1],
        gold=gold,
        shown="what the first position gives each word",
        inputs={"text": " ".join(words)},
        readers={"attention": [0]},
        traces=[Trace("input", source, None, {"encoder_self": weights})],
    )
