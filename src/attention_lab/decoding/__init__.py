"""Decoding token by token with caches: beam search (greedy with one beam) and sampling.

Both work with any model that implements `states.State`.
"""

from attention_lab.decoding.beams import beam_search, hypotheses, longest_targets
from attention_lab.decoding.rules import Draw, Rules
from attention_lab.decoding.sampling import sample, stream
from attention_lab.decoding.states import Hypothesis, State, TargetState, TextState, by_length

__all__ = [
    "Draw",
    "Hypothesis",
    "Rules",
    "State",
    "TargetState",
    "TextState",
    "beam_search",
    "by_length",
    "hypotheses",
    "longest_targets",
    "sample",
    "stream",
]
