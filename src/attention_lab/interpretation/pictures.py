"""The most informative views as PNG, for `dvc plots` and for pages that cannot run scripts."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_lab.interpretation import alignment, heatmap, rationale
from attention_lab.interpretation.examples import Example

STRIPS = 6  # texts in one picture
OUTLINED = {"alignment": "the known alignment", **rationale.GOLD_WORDS}
NAMES = {
    "encoder_self": "Self-attention of the encoder",
    "decoder_self": "Self-attention of the decoder",
    "cross": "Cross-attention",
}


def plots(metrics: dict[str, Any], shown: list[Example], gold: str) -> dict[str, bytes]:
    """Draw example weights, all heads of one place, and the alignment error rate by layer and head."""
    pictures: dict[str, bytes] = {}
    seen = [(example, example.weights) for example in shown if example.weights is not None]
    if not seen:
        return pictures
    if seen[0][0].queries:
        # Show a sentence that the model gets right, if there is one.
        example, weights = next((pair for pair in seen if pair[0].right), seen[0])
        outlined = f"\nOutlined: {OUTLINED[gold]}" if gold in OUTLINED else ""
        kind = "self" if example.right is None else "cross"
        pictures[f"{kind}_attention"] = heatmap.weights_map(
            weights,
            example.queries,
            example.keys,
            title=f"{kind.capitalize()}-attention of {example.row}\n{example.shown}{outlined}",
            query_name="word (query)" if kind == "self" else "target word (query)",
            key_name="word (key)" if kind == "self" else "source word (key)",
            gold=example.gold,
        )
    else:
        pictures["rationale"] = heatmap.strips(
            [
                (
                    f"{example.row}: predicted {example.prediction}, truth {example.reference}",
                    example.keys,
                    weights[0],
                    None if example.gold is None else example.gold[0],
                )
                for example, weights in seen[:STRIPS]
            ],
            title=f"Shown: {seen[0][0].shown}\nUnderlined: {rationale.GOLD_WORDS[gold]}",
        )
    traces = [trace for example in shown for trace in example.traces if any(map(np.size, trace.weights.values()))]
    if traces:
        place, weights = next((p, w) for p, w in reversed(traces[0].weights.items()) if w.size)
        pictures["all_heads"] = heatmap.heads_map(
            weights, title=f"{NAMES[place]} of one example, all heads\nRows look, columns are looked at"
        )
    if metrics.get("alignment"):
        pictures["alignment_by_head"] = heatmap.candidates_map(
            [np.array(grid) for grid in metrics["alignment"]["grid"]],
            [f"{name} row" for name in alignment.ROWS],
            title="Alignment error rate on the test split, by layer and head (darker is better)",
            value_name="alignment error rate",
        )
    return pictures
