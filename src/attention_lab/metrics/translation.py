"""Translation: sacrebleu's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_lab.metrics.figures import interval, rounded


def translation(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], resamples: int, seed: int
) -> dict[str, Any]:
    """BLEU and chrF (0 to 100) and TER, all by sacrebleu with its signature, and the share of exact matches (0 to 1).

    BLEU is that of text as it is, cased and detokenized; `bleu_lowercase` is the same with case ignored. TER (Snover
    et al. 2006) is the number of edits, shifts of phrases among them, for 100 words of the references: less is
    better. `score_low` and `score_high` are BLEU's.

    Args:
        references: one or several of each sentence; all of them count, as in sacrebleu.
    """
    from sacrebleu.metrics import BLEU, CHRF, TER

    most = max(len(accepted) for accepted in references)
    # One list for each number of a reference; None where a sentence has not so many.
    streams: Any = [[dict(enumerate(accepted)).get(i) for accepted in references] for i in range(most)]
    bleu, chrf, ter = BLEU(), CHRF(), TER()
    score = bleu.corpus_score(list(hypotheses), streams)
    chrf_score = chrf.corpus_score(list(hypotheses), streams)
    ter_score = ter.corpus_score(list(hypotheses), streams)
    lowercase = BLEU(lowercase=True).corpus_score(list(hypotheses), streams)
    counts = _bleu_counts(hypotheses, references)

    def resampled(rows: np.ndarray) -> float:
        total = counts[rows].sum(0).tolist()
        return float(
            BLEU.compute_bleu(
                correct=total[2:6], total=total[6:], sys_len=total[0], ref_len=total[1], smooth_method="exp"
            ).score
        )

    low, high = interval(resampled, len(counts), resamples, seed)
    exact = np.mean([said in accepted for said, accepted in zip(hypotheses, references, strict=True)])
    return {
        "bleu": rounded(score.score),
        "bleu_signature": str(bleu.get_signature()),
        "bleu_lowercase": rounded(lowercase.score),
        "chrf": rounded(chrf_score.score),
        "chrf_signature": str(chrf.get_signature()),
        "ter": rounded(ter_score.score),
        "ter_signature": str(ter.get_signature()),
        "exact_match": rounded(exact),
        "score_low": low,
        "score_high": high,
    }


def _bleu_counts(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """(sentences, 10): hypothesis length, reference length, matched and possible 1- to 4-grams. BLEU of a set of
    sentences is a function of their sum, so a resample costs an addition and not a scoring."""
    from sacrebleu.metrics import BLEU

    single = BLEU(effective_order=True)  # has no effect on the counts, and sacrebleu warns without it
    rows = []
    for hypothesis, accepted in zip(hypotheses, references, strict=True):
        score = single.sentence_score(hypothesis, list(accepted))
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    return np.array(rows, dtype=np.int64)
