"""Positions against the formula of the paper and the implementations of others."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import BATCH, HEADS, QUERIES, sizes

from attention_lab.attention.contract import here
from attention_lab.attention.positions import Rotary, sinusoidal

SIZES = sizes("encoder_self", head=12)


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    table = sinusoidal(torch.arange(11), 7)
    for position in range(11):
        for index in range(7):
            angle = position / 10000 ** (2 * (index // 2) / 7)
            expected = math.sin(angle) if index % 2 == 0 else math.cos(angle)
            assert float(table[position, index]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("start", [0, 5])
def test_rotary_positions_are_those_of_llama(start: int) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    torch.manual_seed(0)
    query, key = torch.randn(BATCH, HEADS, QUERIES, 12), torch.randn(BATCH, HEADS, QUERIES, 12)
    angles = torch.cat((angles_of(start), angles_of(start)), -1)[None]
    expected = apply_rotary_pos_emb(query, key, angles.cos(), angles.sin())
    turn = Rotary(SIZES).turn
    torch.testing.assert_close(turn(query, here(QUERIES, start=start)), expected[0])
    torch.testing.assert_close(turn(key, here(QUERIES, start=start)), expected[1])


@pytest.mark.parametrize("start", [0, 5])
def test_interleaved_rotary_positions_are_those_of_gptj(start: int) -> None:
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, QUERIES, 12)
    angles = angles_of(start)[None]
    expected = apply_rotary_pos_emb(query.transpose(1, 2), angles.sin(), angles.cos()).transpose(1, 2)
    torch.testing.assert_close(Rotary(SIZES, interleaved=True).turn(query, here(QUERIES, start=start)), expected)


def angles_of(start: int) -> torch.Tensor:
    """(QUERIES, 6): position times rate."""
    return torch.arange(start, start + QUERIES)[:, None] * (1.0 / 10000 ** (torch.arange(0, 12, 2) / 12))
