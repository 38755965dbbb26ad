"""What a model looked at for one new input: its attention, in words, by place, layer and head.

A model that writes is read again with the prediction it has written. What it wrote counts by its text: the tokenizer
cuts that text anew, and a word that the model left unknown, which has no text, is not there.

Shapes: N layers, H heads, Wq words that look, Wk words that are looked at, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from attention_lab.attention import Place
from attention_lab.evaluation import Trained
from attention_lab.interpretation import KINDS
from attention_lab.interpretation.weights import Words, merge, rollout, words_of
from attention_lab.transformer import Classifier, Config, EncoderDecoder, LanguageModel
from attention_lab.transformer.models import Seen
from attention_lab.transformer.spans import segments_of

CAUTION = (
    "The picture shows where the model looked. It is no proof that the prediction was made because of these words: "
    "only changing or removing them could show that."
)
LEFT_OUT = (
    "What goes to the start and the end of a text and to marks beside a word is left out, so a row may sum to less "
    "than 100 %."
)


@dataclass(frozen=True)
class Map:
    """What was looked at in one place of a model.

    name: in two or three words. what: what the numbers are, in a sentence. queries: words that look (Wq), empty for a
    classifier, whose one query is the first position. keys: words that are looked at (Wk). weights: (N, H, Wq, Wk),
    Wq = 1 for a classifier, N = 0 where the mechanism has none. notes: sentences that a reader of the numbers has to
    know.
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
def explain(trained: Trained, texts: Sequence[str], prediction: str) -> list[Map]:
    """The maps of one input, the one that says most about the prediction first.

    Args:
        texts: the input, a text for each field of the task.
        prediction: what the model made of them: a text, or a class. All are cut where the model's positions end.
    """
    model, config = trained.model, trained.model.config
    # A language model goes on with its input: the prediction begins with it.
    ids, source = _read(trained.tokenizer, [prediction] if isinstance(model, LanguageModel) else texts, config)
    ids = ids.to(trained.device)
    mask = torch.ones_like(ids, dtype=torch.bool)
    if isinstance(model, EncoderDecoder):
        written, target = _read(trained.tokenizer, [prediction], config)
        read = written[:, :-1].to(trained.device)
        _, seen = model(ids, mask, read, weights=True)
        # A position reads one word and predicts the next. For the source it counts which word it predicts, for the
        # words before it which one it reads.
        says, reads = Words(target.words, target.owners[1:]), Words(target.words, target.owners[:-1])
        return [
            _map(config, seen, "cross", says, source),
            _map(config, seen, "encoder_self", source, source),
            _map(config, seen, "decoder_self", reads, reads),
        ]
    if isinstance(model, LanguageModel):
        _, seen = model(ids, weights=True)
        return [_map(config, seen, "decoder_self", source, source)]
    if isinstance(model, Classifier):
        _, seen = model(ids, mask, weights=True)
        return _from_first(config, seen, source)
    _, seen = model(ids, mask, segments=segments_of(ids, config.end), weights=True)
    return [_map(config, seen, "encoder_self", source, source)]


NAMES: dict[Place, tuple[str, str]] = {
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
        "Each row is a word of the text. It shows where the model looked, at that word or before it, when it had read "
        "it and was to say the next.",
    ),
}


def _map(config: Config, seen: Seen, place: Place, queries: Words, keys: Words) -> Map:
    own = _stacked(seen, place, len(queries.owners), len(keys.owners))
    weights = merge(own, queries.owners, keys.owners, query_words=len(queries.words), key_words=len(keys.words))
    name, what = NAMES[place]
    return Map(name, what, queries.words, keys.words, weights, _notes(config, place))


def _from_first(config: Config, seen: Seen, source: Words) -> list[Map]:
    """Two maps of one row: a class is read from the first position alone."""
    length = len(source.owners)
    own, notes = _stacked(seen, "encoder_self", length, length), _notes(config, "encoder_self")

    def row(weights: np.ndarray) -> np.ndarray:
        return merge(weights[..., :1, :], [0], source.owners, query_words=1, key_words=len(source.words))

    each = Map(
        "layer by layer",
        "How much the first position, from which the class is read, looked at each word.",
        [],
        source.words,
        row(own),
        notes,
    )
    # Rollout follows shares through the layers: what does not sum to 1 is no share.
    if not len(own) or config.mechanism("encoder_self").weights != "probabilities":
        return [each]
    through = Map(
        "through all layers",
        "How much of each word has flowed into the first position, from which the class is read, if every layer "
        "passes on half of what it looks at and half of what was there (attention rollout).",
        [],
        source.words,
        row(rollout(own)[None, None]),
        notes,
    )
    return [through, each]


def _notes(config: Config, place: Place) -> list[str]:
    mechanism = config.mechanism(place)
    if mechanism.weights == "none":
        return [f"The mechanism {mechanism.name} has no attention weights, so there is nothing to show."]
    return [LEFT_OUT, *KINDS.get(mechanism.weights, [])]


def _stacked(seen: Seen, place: Place, queries: int, keys: int) -> np.ndarray:
    """(N, H, Lq, Lk) of the only row of a batch; N = 0 if the mechanism gave none."""
    layers: list[Tensor] = getattr(seen, place)
    if not layers:
        return np.zeros((0, 0, queries, keys), dtype=np.float32)
    return torch.stack([layer[0].float() for layer in layers]).cpu().numpy()


def _read(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], config: Config) -> tuple[Tensor, Words]:
    """Token ids (1, L) and words of texts that stand one after the other, as the tokenizer joins a pair: each ends with
    the end token, the first alone has a start token. What is empty, between two spaces, and what is cut off is no word.
    """
    ids: list[int] = []
    words: list[str] = []
    owners: list[int | None] = []
    for text in texts:
        own = tokenizer(text)["input_ids"]
        found = words_of([text], [np.array(own)], tokenizer, [text])[0]
        start = 1 if ids else 0
        ids += own[start:]
        owners += [None if owner is None else owner + len(words) for owner in found.owners[start:]]
        words += found.words
    if len(ids) > config.positions:
        ids = [*ids[: config.positions - 1], config.end]
        owners = [*owners[: config.positions - 1], None]
    kept = sorted({owner for owner in owners if owner is not None and words[owner].strip()})
    number = {owner: index for index, owner in enumerate(kept)}
    left = [None if owner is None else number.get(owner) for owner in owners]
    return torch.tensor([ids]), Words([words[owner] for owner in kept], left)
