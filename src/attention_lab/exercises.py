"""Checks of the notebook's exercises: an answer is compared with numbers, and what is wrong is told in a sentence.

    check(softmax) → "softmax: not yet. Your rows sum to 4.2 and not to 1: …"

The numbers decide, for shapes and sums alone let most mistakes pass. The properties explain: of those that an answer
lacks, the first is told.

Shapes: B batch, H heads, L positions, Lq queries, Lk keys, D width of one head, W width of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from attention_lab.errors import InputError
from attention_lab.interpretation.alignment import alignment_error_rate

Answer = Callable[..., Any]
Told = str | None  # what is wrong with an answer, None: nothing
TURNED = (
    "Your mask is right, but inverted: here True means that a word may look. (PyTorch's nn.MultiheadAttention has it "
    "the other way round; its scaled_dot_product_attention has it as here.)"
)


def check(answer: Answer) -> str:
    """A sentence on an answer to the exercise of its name: right, not yet and why, or not written yet.

    Raises:
        InputError: no exercise has the function's name.
    """
    name = answer.__name__
    if name not in EXERCISES:
        raise InputError(f"there is no exercise {name!r}; choose one of {', '.join(EXERCISES)}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            wrong = EXERCISES[name](answer)
    except NotImplementedError:
        return f"{name}: not written yet. Replace `raise NotImplementedError` with your code and run the cell again."
    except Exception as error:  # noqa: BLE001 - whatever a reader's code raises is told to the reader
        return f"{name}: not yet. Your code raised {type(error).__name__}: {error}"
    return f"{name}: right." if wrong is None else f"{name}: not yet. {wrong}"


def _softmax(answer: Answer) -> Told:
    scores = torch.randn(2, 3, 5)
    found, wanted = answer(scores.clone()), scores.softmax(-1)  # an answer may work in place
    by_column = (scores - scores.amax(-2, keepdim=True)).softmax(-1)
    wrong = _compared(
        found,
        wanted,
        lambda: (
            _close(found.sum(-2), torch.ones(2, 5)),
            "Your columns sum to 1 and your rows do not: over which axis is the softmax? A row is a query, which "
            "divides its attention among the keys, and those are the last axis.",
        ),
        lambda: (
            not _close(found.sum(-1), torch.ones(2, 3)),
            f"Your first row sums to {float(found[0, 0].sum()):.2f} and not to 1: divide each exponential by the sum "
            "of its own row (`keepdim=True` keeps the axis that you divide along).",
        ),
        lambda: (
            bool((found < 0.0).any()),
            "Some of your weights are below 0: the exponential of a score is above 0, whatever the score is.",
        ),
        lambda: (
            _close(found, by_column),
            "You subtracted the largest score of each column. Weights stay the same only if one number is subtracted "
            "from the whole row: its largest score.",
        ),
    )
    if wrong is None and not _close(answer(1000.0 * scores), (1000.0 * scores).softmax(-1)):
        return (
            "It is right for small scores, but not for scores of 1000: e^1000 is more than a number can hold, and "
            "e^−1000 is 0. First subtract from each row its own largest score; numerator and denominator shrink alike, "
            "so no weight changes."
        )
    return wrong


def _scaled_scores(answer: Answer) -> Told:
    query, key = torch.randn(2, 23, 7), torch.randn(2, 31, 7)
    wanted = query @ key.transpose(-2, -1) / math.sqrt(7)  # before the answer, which may work in place
    found = answer(query, key)
    causes = {
        math.sqrt(7): "You did not divide by √D.",
        1.0 / math.sqrt(7): "You divided by D instead of by its root.",
        7.0: "You multiplied by √D instead of dividing.",
        **{
            math.sqrt(7) / by: "You did not divide by √D: `D**1/2` is (D**1) / 2; the root is `D**0.5`."
            for by in (3.5, 14)  # the second without brackets
        },
        1.0 / math.sqrt(2): "You divided by the root of the width of all heads together; D is the width of one head.",
        **{
            math.sqrt(7 / length): f"You divided by the root of {length}, which is how many {what} there are; D is the "
            "last axis."
            for length, what in ((2, "heads"), (23, "queries"), (31, "keys"))
        },
    }
    cause = next((text for factor, text in causes.items() if _same(found, wanted * factor)), None)
    return _compared(
        found,
        wanted,
        lambda: (
            _close(found.sum(-1), torch.ones(2, 23)),
            "These are weights: your rows sum to 1. The exercise asks for scores, which go into the softmax.",
        ),
        lambda: (
            cause is not None,
            f"{cause} Queries and keys of variance 1 should have scores of variance 1, and yours have "
            f"{float(found.var()):.2f}; the softmax would then be too {'sharp' if found.var() > 1 else 'flat'}.",
        ),
    )


def _masked_weights(answer: Answer) -> Told:
    scores = torch.randn(2, 3, 5, 7)
    exists = torch.ones(2, 7, dtype=torch.bool)
    exists[1, 4:] = False
    low = scores - 1000.0
    wanted, wanted_low = (each.masked_fill(~exists[:, None, None, :], -torch.inf).softmax(-1) for each in (scores, low))
    found = answer(scores.clone(), exists.clone())
    wrong = _compared(
        found,
        wanted,
        lambda: (
            bool((found[1, :, :, :4] == 0.0).all()),
            "Words get weight 0 and padding gets all of it: True means that a key is there, so it is `~exists` that "
            "must be masked.",
        ),
        lambda: (
            bool(found.isnan().any()),
            "Some of your weights are not numbers (NaN): the softmax went over scores that are all −inf (weights are "
            "divided among the keys, the last axis), something was divided by 0, or −inf was multiplied (0 · −inf is "
            "no number; `masked_fill` and `torch.where` multiply nothing).",
        ),
        lambda: (
            bool((found < 0.0).any()),
            "Some of your weights are below 0, as scores may be: mask the scores first, and let the softmax, which "
            "turns scores into weights, come last.",
        ),
        lambda: (
            _close(found, scores.softmax(-1)),
            "Your weights are those without a mask; what did you do with `exists`?",
        ),
        lambda: (
            bool((found[1, :, :, 4:] == 0.0).all()) and not _close(found.sum(-1), torch.ones(2, 3, 5)),
            f"Padding gets 0, but the words' weights sum to {float(found[1, 0, 0].sum()):.2f} and not to 1: you masked "
            "after the softmax, which had already counted the padding. Set the scores to −inf before it.",
        ),
        lambda: (
            not bool((found[1, :, :, 4:] == 0.0).all()),
            f"Padding still gets a weight, {float(found[1, 0, 0, 4:].max()):.1g}: a score of 0 is a score like any "
            "other (e^0 = 1). Set it to −inf, since e^−inf = 0.",
        ),
    )
    if wrong is None and not _close(answer(low, exists), wanted_low):
        return (
            "It is right for small scores. But subtract 1000 from every score, which should change no weight, and "
            "yours change: the score you give to padding is then no longer the lowest. Set it to −inf, which always is."
        )
    return wrong


def _causal_mask(answer: Answer) -> Told:
    found, wanted = answer(5), torch.ones(5, 5, dtype=torch.bool).tril()
    return _compared(
        found,
        wanted,
        lambda: (_close(found, ~wanted), TURNED),
        lambda: (
            not bool(found.diagonal().all()),
            "Your words may not look at themselves, so the first word may look at nothing: the diagonal must be True.",
        ),
        lambda: (
            bool(found[0, 1:].any()),
            "Changing the last of five words would change the output of the first: row i is the word that looks, so in "
            "row 0 only column 0 may be True.",
        ),
        lambda: (
            not bool(found[-1].all()),
            "Your last word does not see everything before it: its whole row has to be True.",
        ),
    )


def _split_heads(answer: Answer) -> Told:
    inputs = torch.randn(2, 5, 3 * 7)
    found = answer(inputs, 3)
    wanted = torch.stack([inputs[..., 7 * head : 7 * (head + 1)] for head in range(3)], 1)
    return _compared(
        found,
        wanted,
        lambda: (
            _close(found, inputs.reshape(wanted.shape)),
            "You went from (B, L, W) to (B, H, L, D) in one reshape, which keeps the order of the numbers: head 0 then "
            "holds all of the first words and nothing of the last. Split W into (H, D), then swap L and H.",
        ),
        lambda: (
            _close(found, inputs.unflatten(-1, (7, 3)).movedim(-1, 1)),
            "Head 0 got every third feature instead of the first seven: split W into (H, D), not into (D, H).",
        ),
    )


def _local_window(answer: Answer) -> Told:
    found = answer(11, 4)
    place = torch.arange(11)
    wanted = (place.unsqueeze(-1) - place).abs() <= 4
    wrong = _compared(
        found,
        wanted,
        lambda: (_close(found, ~wanted), TURNED),
        lambda: (
            not _close(found, found.T),
            "Your window looks to one side only, or farther to one than to the other: distance counts in both "
            "directions, so take |i − j|.",
        ),
        lambda: (
            _close(found, (place.unsqueeze(-1) - place).abs() < 4),
            "Your window of 4 leaves out keys at a distance of 4: “at most” is `<=`.",
        ),
        lambda: (
            _close(found, (place.unsqueeze(-1) - place).abs() <= 2),
            "Your window is 4 keys wide in all; it should be 4 to each side, plus the word itself.",
        ),
    )
    if wrong is None and not _close(answer(7, 13), torch.ones(7, 7, dtype=torch.bool)):
        return "A window wider than the sentence should let everything through, as if there were none; yours does not."
    return wrong


def _linear_attention(answer: Answer) -> Told:
    query, key, value = torch.randn(2, 129, 3), torch.randn(2, 131, 3), torch.randn(2, 131, 5)
    with _Largest() as seen:
        found = answer(query.clone(), key.clone(), value.clone())
    products = (F.elu(query) + 1.0) @ (F.elu(key) + 1.0).transpose(-2, -1)
    wanted = products / products.sum(-1, keepdim=True) @ value
    ones = answer(query, key, torch.ones_like(value))
    features: dict[str, Callable[[Tensor], Tensor]] = {
        "You left out the features φ(x) = elu(x) + 1: products of the vectors themselves can be below 0, and so can "
        "the number you divide by.": lambda x: x,
        "Your features φ are elu(x) without the 1: they can be below 0, and so can the number you divide by.": F.elu,
        "Your features φ are elu(x + 1); add the 1 to elu(x), so that they are above 0.": lambda x: F.elu(x + 1.0),
        "Your features φ are a softmax; here they are elu(x) + 1.": lambda x: x.softmax(-1),
    }
    cause = next(
        (text for text, of in features.items() if _mostly(found, _in_linear_time(of(query), of(key), value))), None
    )
    wrong = _compared(
        found,
        wanted,
        lambda: (
            not _mostly(ones, torch.ones_like(ones)),
            f"You turn values that are all 1 into {float(ones[0, 0, 0]):.2f}, but a mean of ones is 1: divide the sum "
            "over values by the sum of weights, φ(q)·Σφ(k).",
        ),
        lambda: (cause is not None, str(cause)),
    )
    if wrong is None and seen.most >= 129 * 131:
        return (
            "The numbers are right, but on the way you made a tensor with a number for each pair of query and key, "
            "which linear attention avoids. Sum over the keys first, in numerator and denominator: Σ φ(k)vᵀ is (D, "
            "Dv), and Σ φ(k) is (D,)."
        )
    return wrong


def _alignment_error(answer: Answer) -> Told:
    found = {(0, 0), (1, 2), (2, 1), (3, 3), (4, 3)}
    sure = {(0, 0), (1, 2), (2, 1), (3, 4), (4, 4), (5, 5)}
    rate, wanted = answer(found, sure), alignment_error_rate([found], [sure])
    if not isinstance(rate, int | float):
        return f"Your function returns a {type(rate).__name__} and should return a number."
    hits = len(found & sure)
    told = {
        1.0 - wanted: "You return the share that is right; the error is 1 minus that: with no link in common it is 1.",
        1.0 - hits / len(found): "You divided by the found links alone, so a single sure guess would be perfect; "
        "missed links are errors too.",
        1.0 - hits / len(sure): "You divided by the known links alone, so linking everything with everything "
        "would be perfect; superfluous links are errors too.",
        1.0 - hits / (len(found) + len(sure)): "For two equal sets you return 0.5 and not 0: a link in common is in "
        "both sets, so it counts twice.",
        1.0
        - hits / len(found | sure): "You divided by the links that are in either set; divide by |A| + |S|, and count "
        "those in common twice, in numerator and denominator.",
    }
    for value, text in told.items():
        if math.isclose(rate, value, abs_tol=1e-6) and not math.isclose(rate, wanted, abs_tol=1e-6):
            return text
    return (
        None if math.isclose(rate, wanted, abs_tol=1e-6) else f"You return {rate:.4f}, but it should be {wanted:.4f}."
    )


EXERCISES: dict[str, Callable[[Answer], Told]] = {
    "softmax": _softmax,
    "scaled_scores": _scaled_scores,
    "masked_weights": _masked_weights,
    "causal_mask": _causal_mask,
    "split_heads": _split_heads,
    "local_window": _local_window,
    "linear_attention": _linear_attention,
    "alignment_error": _alignment_error,
}


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor had that was made."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.most = max(self.most, made.numel())
        return made


def _compared(found: Any, wanted: Tensor, *reasons: Callable[[], tuple[bool, str]]) -> Told:
    """None if both are the same numbers; else what is wrong: kind, shape, the first reason that holds, or where."""
    if not isinstance(found, Tensor):
        return f"Your function returns a {type(found).__name__} and should return a tensor."
    if found.shape != wanted.shape:
        return f"Your result has the shape {_shape(found.shape)} and should have {_shape(wanted.shape)}."
    if wanted.dtype == torch.bool and found.dtype != torch.bool:
        return f"Your mask holds {found.dtype} and should hold True (may look) and False, torch.bool."
    if _close(found, wanted):
        return None
    for reason in reasons:
        holds, text = reason()
        if holds:
            return text
    away = (found.double() - wanted.double()).abs().nan_to_num(nan=math.inf)
    place = tuple(int(index) for index in torch.unravel_index(away.argmax(), away.shape))
    return f"At {list(place)} you have {found[place].item():.4g}, but the reference has {wanted[place].item():.4g}."


def _in_linear_time(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Of features (H, Lq, D) and (H, Lk, D)."""
    return query @ (key.transpose(-2, -1) @ value) / (query @ key.sum(-2).unsqueeze(-1))


def _close(left: Tensor, right: Tensor) -> bool:
    return torch.allclose(left.double(), right.double(), atol=1e-5)


def _same(found: Any, wanted: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == wanted.shape and _close(found, wanted)


def _mostly(found: Any, wanted: Tensor) -> bool:
    """Whether most numbers are the same; rounding decides a few where the sum of weights is near 0."""
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        return False
    return float((found.double() - wanted.double()).abs().median()) < 1e-4


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
