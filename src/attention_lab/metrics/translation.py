"""Translation: sacrebleu's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_lab.metrics.figures import Figure, interval, rounded


def translation(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], resamples: int, seed: int
) -> dict[str, Any]:
    """BLEU and chrF (0 to 100) and TER, all by sacrebleu with its signature, and the share of exact matches (0 to 1).

    BLEU is computed on text as it is, cased and detokenized; `bleu_lowercase` ignores case. TER (Snover et al. 2006) is
    the number of edits, including shifts of phrases, per 100 words of the references; lower is better. `score_low` and
    `score_high` are the interval of BLEU.

    Args:
        references: one or several for each sentence; all of them are used, as in sacrebleu.
    """
    from sacrebleu.metrics import BLEU, TER

    ter = TER()
    ter_score = ter.corpus_score(list(hypotheses), _streams(references))
    lowercase = BLEU(lowercase=True).corpus_score(list(hypotheses), _streams(references))
    low, high = interval(bleu_of_rows(hypotheses, references), len(hypotheses), resamples, seed)
    return {
        **overlap(hypotheses, references),
        "bleu_lowercase": rounded(lowercase.score),
        "ter": rounded(ter_score.score),
        "ter_signature": str(ter.get_signature()),
        "score_low": low,
        "score_high": high,
    }


def overlap(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The metrics of `translation` that need neither a search for edits nor resampling: BLEU, chrF, exact matches."""
    from sacrebleu.metrics import BLEU, CHRF

    bleu, chrf = BLEU(), CHRF()
    score = bleu.corpus_score(list(hypotheses), _streams(references))
    chrf_score = chrf.corpus_score(list(hypotheses), _streams(references))
    exact = np.mean([said in accepted for said, accepted in zip(hypotheses, references, strict=True)])
    return {
        "bleu": rounded(score.score),
        "bleu_signature": str(bleu.get_signature()),
        "chrf": rounded(chrf_score.score),
        "chrf_signature": str(chrf.get_signature()),
        "exact_match": rounded(exact),
    }


def _streams(references: Sequence[Sequence[str]]) -> Any:
    """References in sacrebleu's format: one list for every first reference, one for every second, and so on; None where
    a sentence has fewer."""
    most = max(len(accepted) for accepted in references)
    return [[dict(enumerate(accepted)).get(i) for accepted in references] for i in range(most)]


def bleu_of_rows(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Figure:
    """BLEU as a function of row numbers. It depends only on sums of lengths and of matched and possible 1- to 4-grams,
    so a resample costs additions instead of scoring."""
    from sacrebleu.metrics import BLEU

    single = BLEU(effective_order=True)  # does not affect the counts; without it sacrebleu warns
    scores = [single.sentence_score(said, list(right)) for said, right in zip(hypotheses, references, strict=True)]
    counts = np.array([[one.sys_len, one.ref_len, *one.counts, *one.totals] for one in scores], dtype=np.int64)

    def bleu(rows: np.ndarray) -> float:
        said, right, *grams = counts[rows].sum(0).tolist()
        found = BLEU.compute_bleu(
            correct=grams[:4], total=grams[4:], sys_len=said, ref_len=right, smooth_method="exp"
        )  # fmt: skip
        return float(found.score)

    return bleu
