"""Attention is a weighted sum; a mechanism says where the weights come from.

    scores = score(query, key)              (B, H, Lq, Lk)   scores.py, positions.py, biases.py
    weights = normalise(scores, mask)       (B, H, Lq, Lk)   normalisers.py, patterns.py, operations.py
    output = weights · value                (B, H, Lq, D)    composition.py, heads.py, multi_head.py

`rows.py` names the mechanisms: each is a choice of score, normaliser, pattern, position, heads and operation, or a
kernel (`kernels/`).
"""

from attention_lab.attention.catalogue import Mechanism, mechanism
from attention_lab.attention.contract import PLACES, Cache, Place
from attention_lab.attention.multi_head import MultiHeadAttention
from attention_lab.attention.rows import CATALOGUE

__all__ = ["CATALOGUE", "PLACES", "Cache", "Mechanism", "MultiHeadAttention", "Place", "mechanism"]
