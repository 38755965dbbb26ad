"""The checks of the exercises: they accept the solutions, and explain the mistakes that learners make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attention_lab.errors import InputError
from attention_lab.exercises import EXERCISES, check
from notebooks import solutions


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right(name: str) -> None:
    assert check(getattr(solutions, name)) == f"{name}: right."


def places(length: int) -> Tensor:
    """Column minus row."""
    return torch.arange(length)[None, :] - torch.arange(length)[:, None]


def scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda query, key: query @ key.transpose(-2, -1) * factor


def quadratic(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    products = (F.elu(query) + 1) @ (F.elu(key) + 1).transpose(-2, -1)
    return products / products.sum(-1, keepdim=True) @ value


def quadratic_by_heads(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.stack([quadratic(q, k, v) for q, k, v in zip(query, key, value, strict=True)])


def scaled_scores(query: Tensor, key: Tensor) -> Tensor:
    """Right, and in place."""
    query /= math.sqrt(query.shape[-1])
    return query @ key.transpose(-2, -1)


def test_a_right_answer_may_work_in_place() -> None:
    assert check(scaled_scores).endswith("right.")


RIGHT: list[tuple[str, Callable[..., Any]]] = [
    ("softmax", lambda s: s.sub_(s.amax(-1, keepdim=True)).exp_().div_(s.sum(-1, keepdim=True))),
    ("scaled_scores", lambda q, k: torch.einsum("hqd,hkd->hqk", q, k) * q.shape[-1] ** -0.5),
    ("masked_weights", lambda s, e: closed(s, e, -1e9).softmax(-1)),
    ("masked_weights", lambda s, e: torch.where(e[:, None, None], s, -torch.inf).softmax(-1)),
    ("masked_weights", lambda s, e: s.masked_fill_(~e[:, None, None], -torch.inf).softmax(-1)),
    ("masked_weights", lambda s, e: (s + e[:, None, None].float().log()).softmax(-1)),
    ("masked_weights", lambda s, e: F.normalize(s.softmax(-1) * e[:, None, None], p=1, dim=-1)),
    ("causal_mask", lambda n: ~torch.ones(n, n, dtype=torch.bool).triu(1)),
    ("split_heads", lambda x, h: torch.stack(x.chunk(h, -1), 1)),
    ("local_window", lambda n, w: torch.ones(n, n, dtype=torch.bool).triu(-w).tril(w)),
    ("linear_attention", lambda q, k, v: undivided(q, k, v) / undivided(q, k, torch.ones_like(v[..., :1]))),
    ("alignment_error", lambda a, s: 1 - 2 * sum(link in s for link in a) / (len(a) + len(s))),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_there_is_more_than_one_right_answer(name: str, answer: Callable[..., Any]) -> None:
    answer.__name__ = name
    assert check(answer) == f"{name}: right."


def undivided(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (F.elu(query) + 1) @ ((F.elu(key) + 1).transpose(-2, -1) @ value)


def quadratic_below(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """In linear time above the line alone."""
    return undivided(query, key, value) / ((F.elu(query) + 1) @ (F.elu(key) + 1).mT).sum(-1, keepdim=True)


def featured(features: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Linear attention with other features, rounded otherwise than in the check."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        of_query, of_key = features(query), features(key)
        sums = torch.einsum("hkd,hkv->hdv", of_key, value)
        return (
            torch.einsum("hqd,hdv->hqv", of_query, sums) / (of_query * of_key.sum(-2, keepdim=True)).sum(-1)[..., None]
        )

    return attend


def closed(scores: Tensor, exists: Tensor, score: float) -> Tensor:
    return scores.masked_fill(~exists[:, None, None], score)


MISTAKES: list[tuple[str, Callable[..., Any], str]] = [
    ("softmax", lambda s: s.softmax(-2), "over which axis is the softmax"),
    ("softmax", lambda s: s.exp() / s.exp().sum(), "by the sum of its own row"),
    ("softmax", lambda s: s.exp(), "Your first row sums to"),
    ("softmax", lambda s: s.exp() / s.exp().sum(-1, keepdim=True), "e^1000 is more than a number can hold"),
    ("softmax", lambda s: (s - s.max()).exp() / (s - s.max()).exp().sum(-1, keepdim=True), "its own largest score"),
    ("softmax", lambda s: (s - s.amax(-2, keepdim=True)).softmax(-1), "the largest score of each column"),
    ("softmax", lambda s: s / s.sum(-1, keepdim=True), "weights are below 0"),
    ("softmax", lambda s: (2 * s).softmax(-1), "the reference has"),
    ("scaled_scores", scaled(1.0), "You did not divide by √D"),
    ("scaled_scores", scaled(1 / 7), "You divided by D instead"),
    ("scaled_scores", scaled(math.sqrt(7)), "You multiplied by √D"),
    ("scaled_scores", scaled(1 / math.sqrt(14)), "the width of all heads together"),
    ("scaled_scores", lambda q, k: q @ k.mT / math.sqrt(q.shape[-2]), "how many queries there are"),
    ("scaled_scores", lambda q, k: q @ k.mT / math.sqrt(k.shape[-2]), "how many keys there are"),
    ("scaled_scores", lambda q, k: q @ k.mT / math.sqrt(q.shape[0]), "how many heads there are"),
    ("scaled_scores", lambda q, k: (q @ k.mT / math.sqrt(7)).softmax(-1), "These are weights"),
    ("scaled_scores", lambda q, k: (q @ k.mT).softmax(-1), "These are weights"),
    ("scaled_scores", lambda q, k: q @ k.mT / q.shape[-1] ** 1 / 2, "the root is `D**0.5`"),
    ("scaled_scores", lambda q, k: q @ k.mT / (q.shape[-1] ** 1 / 2), "the root is `D**0.5`"),
    ("scaled_scores", lambda q, k: k @ q.transpose(-2, -1) / math.sqrt(7), "has the shape (2, 31, 23)"),
    ("masked_weights", lambda s, e: s.softmax(-1), "without a mask"),
    ("masked_weights", lambda s, e: s.softmax(-1) * e[:, None, None], "you masked after the softmax"),
    ("masked_weights", lambda s, e: (s * e[:, None, None]).softmax(-1), "a score of 0 is a score like any other"),
    ("masked_weights", lambda s, e: s.masked_fill(e[:, None, None], -1e9).softmax(-1), "padding gets all of it"),
    ("masked_weights", lambda s, e: s.masked_fill(e[:, None, None], -torch.inf).softmax(-1), "padding gets all of it"),
    ("masked_weights", lambda s, e: (s + ~e[:, None, None] * -torch.inf).softmax(-1), "0 · −inf is no number"),
    ("masked_weights", lambda s, e: closed(s.softmax(-1), e, -torch.inf), "come last"),
    ("masked_weights", lambda s, e: closed(s, e, -20.0).softmax(-1), "then no longer the lowest"),
    ("masked_weights", lambda s, e: closed(s, e, -100.0).softmax(-1), "then no longer the lowest"),
    ("masked_weights", lambda s, e: closed(s, e, -torch.inf).softmax(-2), "among the keys, the last axis"),
    ("masked_weights", lambda s, e: closed(s, e, -torch.inf), "which turns scores into weights, come last"),
    ("causal_mask", lambda n: places(n) > 0, "inverted"),
    ("causal_mask", lambda n: places(n) < 0, "the first word may look at nothing"),
    ("causal_mask", lambda n: places(n) >= 0, "Changing the last of five words"),
    ("causal_mask", lambda n: (places(n) <= 0) & (places(n) > -3), "does not see everything before it"),
    ("causal_mask", lambda n: torch.zeros(n, n).masked_fill(places(n) > 0, -torch.inf), "should hold True"),
    ("split_heads", lambda x, h: x.reshape(2, h, 5, 7), "in one reshape"),
    ("split_heads", lambda x, h: x.unflatten(-1, (7, h)).movedim(-1, 1), "(H, D), not into (D, H)"),
    ("split_heads", lambda x, h: x.unflatten(-1, (h, 7)), "should have (2, 3, 5, 7)"),
    ("local_window", lambda n, w: (places(n) <= 0) & (places(n) >= -w), "looks to one side only"),
    ("local_window", lambda n, w: (places(n) < w) & (places(n) >= -w), "farther to one than to the other"),
    ("local_window", lambda n, w: places(n).abs() > w, "inverted"),
    ("local_window", lambda n, w: places(n).abs() < w, "“at most” is `<=`"),
    ("local_window", lambda n, w: places(n).abs() <= w // 2, "4 to each side"),
    ("local_window", lambda n, w: places(n).abs() <= min(w, 4), "let everything through"),
    ("linear_attention", quadratic, "a number for each pair of query and key"),
    ("linear_attention", quadratic_by_heads, "a number for each pair of query and key"),
    ("linear_attention", quadratic_below, "Σ φ(k) is (D,)"),
    ("linear_attention", featured(F.elu), "elu(x) without the 1"),
    ("linear_attention", featured(lambda x: x), "You left out the features"),
    ("linear_attention", featured(lambda x: F.elu(x + 1)), "add the 1 to elu(x)"),
    ("linear_attention", featured(lambda x: x.softmax(-1)), "Your features φ are a softmax"),
    ("linear_attention", undivided, "a mean of ones is 1"),
    ("linear_attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v), "the reference has"),
    ("alignment_error", lambda a, s: 2 * len(a & s) / (len(a) + len(s)), "the share that is right"),
    ("alignment_error", lambda a, s: 1 - len(a & s) / len(a), "missed links are errors"),
    ("alignment_error", lambda a, s: 1 - len(a & s) / len(s), "superfluous links are errors"),
    ("alignment_error", lambda a, s: 1 - len(a & s) / (len(a) + len(s)), "counts twice"),
    ("alignment_error", lambda a, s: 1 - len(a & s) / len(a | s), "in either set"),
    ("alignment_error", lambda a, s: None, "returns a NoneType"),
]


@pytest.mark.parametrize(("name", "mistake", "told"), MISTAKES)
def test_a_mistake_is_explained(name: str, mistake: Callable[..., Any], told: str) -> None:
    mistake.__name__ = name
    sentence = check(mistake)
    assert sentence.startswith(f"{name}: not yet. ")
    assert told in sentence


def test_every_exercise_has_its_mistakes() -> None:
    assert {name for name, _, _ in MISTAKES} == set(EXERCISES)


def test_what_is_not_written_and_what_raises_is_told() -> None:
    def softmax(scores: Tensor) -> Tensor:
        raise NotImplementedError

    assert "not written yet" in check(softmax)

    def causal_mask(length: int) -> Tensor:
        return torch.ones(length) @ torch.ones(length + 1)

    assert "Your code raised RuntimeError" in check(causal_mask)


def test_a_check_draws_nothing_from_the_readers_generator() -> None:
    state = torch.get_rng_state()
    check(solutions.softmax)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_exercise_names_those_there_are() -> None:
    def sofmax(scores: Tensor) -> Tensor:
        return scores

    with pytest.raises(InputError, match="choose one of softmax, scaled_scores"):
        check(sofmax)
