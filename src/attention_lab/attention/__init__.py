"""Attention is a weighted sum; a mechanism says where the weights come from.

    scores = score(query, key)              (B, H, Lq, Lk)   scores.py, positions.py, biases.py
    weights = normalise(scores, mask)       (B, H, Lq, Lk)   normalisers.py, patterns.py, operations.py
    output = weights · value                (B, H, Lq, D)    composition.py, heads.py, multi_head.py

`rows.py` lists the mechanisms. Each combines a score, a normaliser, a pattern, a position, heads and an operation; a
kernel (`kernels/`) replaces the first three.
"""

from attention_lab.attention.catalogue import Mechanism, mechanism
from attention_lab.attention.contract import PLACES, Cache, Place
from attention_lab.attention.multi_head import MultiHeadAttention
from attention_lab.attention.rows import CATALOGUE

__all__ = ["CATALOGUE", "PLACES", "Cache", "Mechanism", "MultiHeadAttention", "Place", "mechanism"]
