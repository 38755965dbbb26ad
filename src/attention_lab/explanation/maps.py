"""What a model looked at for one new input: its attention, in words, by place, layer and head.

A model that writes is read again with the prediction it has written. What it wrote counts by its text: the tokenizer
cuts that text anew, and a word that the model left unknown, which has no text, is not there.

Shapes: N layers, H heads, Wq words that look, Wk words that are looked at, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attention_lab.attention import Place
from attention_lab.encoding import Ids, Window
from attention_lab.inference import Predictor
from attention_lab.interpretation import KINDS
from attention_lab.interpretation.weights import Words, merge, owners_of, rollout, stacked, words_of
from attention_lab.transformer import Classifier, Config, LanguageModel, SpanExtractor
from attention_lab.transformer.models import Seen, segments_of
from attention_lab.vocabulary import BOS

ALL = "all positions"  # their mean

CAUTION = (
    "This shows where the model looked. It does not prove that the prediction was made because of these words: "
    "only changing or removing them could show that."
)
LEFT_OUT = (
    "Weights on the start and end of a text and on punctuation beside a word are left out, so a row may sum to less "
    "than 100 %."
)

# What a map is called, and what its numbers are.
TOLD = {
    "cross": (
        "prediction to source",
        "Each row is a word of the prediction. It shows where the model looked in the source when it wrote that word.",
    ),
    "encoder_self": (
        "source to source",
        "Each row is a word that the model reads. It shows which words the model looked at to read it.",
    ),
    "decoder_self": (
        "text to text",
        "Each row is a word of the text. It shows where the model looked, at that word or earlier ones, to predict the "
        "next word.",
    ),
    "class": (
        "layer by layer",
        "How much the position that the class is read from (the first, or the mean of all) looked at each word.",
    ),
    "rollout": (
        "through all layers",
        "How much of each word has reached the position that the class is read from (the first, or the mean of all), "
        "if every layer passes on half of what it looks at and half of what was there (attention rollout).",
    ),
    "answer": (
        "answer to question and text",
        "Each row is a word of the answer. It shows where the model looked, in the question and in the text.",
    ),
    "no answer": (
        "no answer",
        "How much the first position, which stands for no answer, looked at each word of question and text.",
    ),
}


@dataclass(frozen=True)
class Map:
    """What was looked at in one place of a model.

    name: in a few words. what: what the numbers are, in a sentence. queries: words that look (Wq), or what a class is
    read from. keys: words that are looked at (Wk). weights: (N, H, Wq, Wk), with N = 0 where the mechanism
    has none. notes: sentences that a reader of the numbers has to know.
    """

    name: str
    what: str
    queries: list[str]
    keys: list[str]
    weights: np.ndarray
    notes: list[str] = field(default_factory=list)

    def of(self, layer: int, head: int | None = None) -> np.ndarray:
        """Weights (Wq, Wk) of one layer and head, both counted from 1; None: the mean of its heads."""
        heads = self.weights[layer - 1]
        return np.asarray(heads.mean(0) if head is None else heads[head - 1])


@torch.inference_mode()
def explain(predictor: Predictor, texts: Mapping[str, str], answer: Mapping[str, Any]) -> list[Map]:
    """The maps of one input, the one that says most about the prediction first.

    Args:
        texts: the input, a text under each name of `predictor.fields`. Of a text that is too long to be read at once
            the maps have the beginning; where an answer is looked for, the first window that has the answer.
        answer: what `predictor.predict` says of it.
    """
    model, config = predictor.model, predictor.model.config
    if isinstance(model, SpanExtractor):
        return _of_answer(predictor, model, texts, answer)
    # A language model goes on with its input: the prediction begins with it.
    goes_on = isinstance(model, LanguageModel)
    ids, source = _alone(predictor, answer["prediction"] if goes_on else texts[predictor.fields[0]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    if isinstance(model, LanguageModel):
        _, seen = model(ids, weights=True)
        return [_map(config, seen, "decoder_self", source, source)]
    if isinstance(model, Classifier):
        _, seen = model(ids, mask, weights=True)
        return _of_class(config, seen, source)
    written, target = _alone(predictor, answer["prediction"], written=True)
    _, seen = model(ids, mask, written[:, :-1], weights=True)
    # A position reads one word and predicts the next. For the source it counts which word it predicts, for the words
    # before it which one it reads.
    says, reads = Words(target.words, target.owners[1:]), Words(target.words, target.owners[:-1])
    return [
        _map(config, seen, "cross", says, source),
        _map(config, seen, "encoder_self", source, source),
        _map(config, seen, "decoder_self", reads, reads),
    ]


def _of_class(config: Config, seen: Seen, source: Words) -> list[Map]:
    length = len(source.owners)
    reader = _first(length) if config.pooling == "first" else Words([ALL], [0] * length)
    each = _map(config, seen, "encoder_self", reader, source, "class")
    # Rollout follows shares through the layers: what does not sum to 1 is no share.
    if config.mechanism("encoder_self").weights != "probabilities":
        return [each]
    through = rollout(_stacked(seen, "encoder_self", source, source))
    return [_merged(through[None, None], reader, source, "rollout", each.notes), each]


def _of_answer(
    predictor: Predictor, model: SpanExtractor, texts: Mapping[str, str], answer: Mapping[str, Any]
) -> list[Map]:
    question, text = (texts[name] for name in predictor.fields)
    window = window_of(predictor, texts, answer)
    source = _about(predictor, window, question, text)
    ids, config = _on_device(predictor, window.ids), model.config
    mask, segments = torch.ones_like(ids, dtype=torch.bool), segments_of(ids, config)
    _, seen = model(ids, mask, segments=segments, weights=True)
    whole = _map(config, seen, "encoder_self", source, source)
    if not answer["prediction"]:
        return [_map(config, seen, "encoder_self", _first(len(source.owners)), source, "no answer"), whole]
    owners = [owner if here else None for owner, here in zip(source.owners, _of_answer_in(window, answer), strict=True)]
    return [_map(config, seen, "encoder_self", _kept(Words(source.words, owners)), source, "answer"), whole]


def window_of(predictor: Predictor, texts: Mapping[str, str], answer: Mapping[str, Any]) -> Window:
    """The first window of a question's text that has some of the answer, or the first of all."""
    windows = predictor.read([[texts[name]] for name in predictor.fields], windows=True)[0].windows
    return next((one for one in windows if any(_of_answer_in(one, answer))), windows[0])


def _of_answer_in(window: Window, answer: Mapping[str, Any]) -> list[bool]:
    """Which positions have some of the answer."""
    begins, ends = answer["begins"], answer["begins"] + len(answer["prediction"])
    return [start < ends and end > max(begins, start) for start, end in places_of(window)]


def _map(config: Config, seen: Seen, place: Place, queries: Words, keys: Words, told: str | None = None) -> Map:
    mechanism = config.mechanism(place)
    notes = [LEFT_OUT, *KINDS.get(mechanism.weights, [])]
    if mechanism.weights == "none":
        notes = [f"The mechanism {mechanism.name} has no attention weights, so there is nothing to show."]
    return _merged(_stacked(seen, place, queries, keys), queries, keys, told or place, notes)


def _merged(weights: np.ndarray, queries: Words, keys: Words, told: str, notes: list[str]) -> Map:
    """The map of weights between tokens (N, H, Lq, Lk)."""
    rows, columns = len(queries.words), len(keys.words)
    merged = merge(weights, queries.owners, keys.owners, query_words=rows, key_words=columns)
    return Map(*TOLD[told], queries.words, keys.words, merged, notes)


def _stacked(seen: Seen, place: Place, queries: Words, keys: Words) -> np.ndarray:
    """(N, H, Lq, Lk) of the only row of a batch; N = 0 if the mechanism gave none."""
    found = stacked(seen, place)[:, 0]
    return found if len(found) else found.reshape(0, 0, len(queries.owners), len(keys.owners))


def _first(length: int) -> Words:
    """The first of so many positions, as if it were a word."""
    return Words([BOS], [0, *[None] * (length - 1)])


def _alone(predictor: Predictor, text: str, *, written: bool = False) -> tuple[Tensor, Words]:
    """Token ids (1, L) and words of one text that the model reads, or that it has written."""
    ids = predictor.read([[text]], windows=False, written=written)[0].windows[0].ids
    tokenizer = predictor.target_tokenizer if written else predictor.tokenizer
    return _on_device(predictor, ids), _kept(words_of([text], [ids], tokenizer, [text])[0])


def _about(predictor: Predictor, window: Window, question: str, text: str) -> Words:
    """The words of <s> question </s> text </s>, of which a window has what it has of the text."""
    length = int(np.argmax(window.ids == predictor.model.config.end)) + 1
    asked = words_of([question], [window.ids[:length]], predictor.tokenizer, [question])[0]
    behind = [
        None if owner is None else owner + len(asked.words) for owner in owners_of(places_of(window)[length:], text)
    ]
    return _kept(Words([*asked.words, *text.split(" ")], [*asked.owners, *behind]))


def places_of(window: Window) -> list[tuple[int, int]]:
    """Where each token stands in the text; (0, 0) for those that do not."""
    return [] if window.places is None else [(start, end) for start, end in window.places.tolist()]


def _kept(found: Words) -> Words:
    """Without words that own no token, cut off or not asked for, and what stands between two spaces."""
    kept = sorted({owner for owner in found.owners if owner is not None and found.words[owner].strip()})
    number = {owner: index for index, owner in enumerate(kept)}
    owners = [None if owner is None else number.get(owner) for owner in found.owners]
    return Words([found.words[owner] for owner in kept], owners)


def _on_device(predictor: Predictor, ids: Ids) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None].to(predictor.device)
