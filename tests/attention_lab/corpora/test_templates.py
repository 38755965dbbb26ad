"""Templates: values stand where their ranges say."""

from __future__ import annotations

import pytest

from attention_lab.corpora.templates import fill


def test_values_are_where_their_ranges_say() -> None:
    words, spans = fill(
        "at <time>, <who> saw a <what>.", {"time": "half past six", "who": "Ann", "what": "dog"}, begin=7
    )
    assert words == ["at", "half", "past", "six,", "Ann", "saw", "a", "dog."]
    assert spans == {"time": range(8, 11), "who": range(11, 12), "what": range(14, 15)}


def test_a_role_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="what"):
        fill("a <what>", {"who": "Ann"})


def test_an_empty_template_has_no_words() -> None:
    assert fill("", {}) == ([], {})
