"""Attention is a weighted sum; a mechanism says where the weights come from.

    scores = score(query, key)              (B, H, Lq, Lk)   scores.py
    weights = normalise(scores, mask)       (B, H, Lq, Lk)   normalisers.py, patterns.py
    output = weights · value                (B, H, Lq, D)    multi_head.py

`catalogue.py` names the mechanisms: each is a choice of score, normaliser and pattern.
"""

from attention_lab.attention.catalogue import CATALOGUE, Mechanism, mechanism
from attention_lab.attention.multi_head import KeyValueCache, MultiHeadAttention

__all__ = ["CATALOGUE", "KeyValueCache", "Mechanism", "MultiHeadAttention", "mechanism"]
