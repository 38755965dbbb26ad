"""The embedded reports: an independent rule writes every summary, from the salient words alone; copying does not."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd
import pytest

from attention_lab.corpora import summarization as lists
from attention_lab.corpora.grammar import held_out
from attention_lab.corpora.summarization import generate
from attention_lab.errors import InputError

SIZE = 2000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate(SIZE, 7)


def bare(text: str) -> list[str]:
    return [word.strip(".,") for word in text.split(" ")]


def any_of(words: tuple[str, ...]) -> str:
    return f"({'|'.join(words)})"


PERSON, TEAM, TOWN, DAY, NUMBER, GOODS, VEHICLE, FORCE, THING = (
    any_of(words)
    for words in (
        *(lists.PEOPLE, lists.TEAMS, lists.TOWNS, lists.DAYS, lists.NUMBERS, lists.GOODS, lists.VEHICLES),
        *(lists.FORCES, lists.THINGS),
    )
)


def from_salient(words: list[str]) -> str:
    """The summary by the salient words, whatever else the report says."""

    def those(kind: str) -> list[str]:
        return re.findall(rf"\b{kind}\b", " ".join(words), re.IGNORECASE)

    if "decided" in words:
        winner = words[words.index("decided") + 1]
        loser = next(team for team in those(TEAM) if team != winner)
        return f"The {winner} beat the {loser} in {those(TOWN)[0]}. {those(PERSON)[0]} made the difference."
    if those(GOODS):
        return (
            f"At the market in {those(TOWN)[0]}, {those(PERSON)[0]} did best with {those(NUMBER)[0]} {those(GOODS)[0]}."
        )
    if those(VEHICLE):
        return f"{' and '.join(those(PERSON))} reached {those(TOWN)[0]}. A {those(VEHICLE)[0]} took them there."
    force = those(FORCE)[0].lower()
    return f"On {those(DAY)[0]} the {those(THING)[0]} in {those(TOWN)[0]} was ruined by {force}."


def from_report(text: str) -> str:
    """The summary by what the report says, with no knowledge of what is salient."""
    if found := re.search(rf"{PERSON} decided (?:the match|everything) for the {TEAM}", text):
        hero, winner = found.groups()
        first = text.split(".")[0]
        loser = next(team for team in re.findall(TEAM, first) if team != winner)
        return f"The {winner} beat the {loser} in {re.findall(TOWN, first)[0]}. {hero} made the difference."
    if "market" in text:
        sold = re.findall(rf"{PERSON} (?:sold|found buyers for) {NUMBER} {GOODS}", text)
        person, number, goods = max(sold, key=lambda sale: lists.NUMBERS.index(sale[1]))
        return f"At the market in {re.findall(TOWN, text.split('.')[0])[0]}, {person} did best with {number} {goods}."
    if found := re.search(rf"to go to {TOWN} by {VEHICLE}|wanted to see {TOWN} and go by {VEHICLE}", text):
        goal, vehicle = (part for part in found.groups() if part)
        if changed := re.search(rf"changed to {TOWN}|then {TOWN} seemed", text):
            goal = changed[1] or changed[2]
        if changed := re.search(rf"so a {VEHICLE} was|went on by {VEHICLE}", text):
            vehicle = changed[1] or changed[2]
        leader = re.findall(PERSON, text.split(".")[0])[0]
        companion = re.search(rf"{PERSON} (?:came along|joined)", text)[1]
        return f"{leader} and {companion} reached {goal}. A {vehicle} took them there."
    worst = next(sentence for sentence in text.split(".") if re.search("(?:[Ww]orst|[Mm]ost) of all", sentence))
    force, thing, town, day = re.search(rf"{FORCE}(?: that)? damaged the {THING} in {TOWN} on {DAY}", worst).groups()
    return f"On {day} the {thing} in {town} was ruined by {force}."


def test_columns_size_and_rows(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == ["row", "split", "document", "summary", "salient"]
    assert frame.row.tolist() == [f"embedded:{n}" for n in range(1, SIZE + 1)]
    assert frame.document.is_unique
    assert frame.split.value_counts().to_dict() == {"train": 1600, "valid": 200, "test": 200}


def test_each_topic_has_its_share_of_each_split(frame: pd.DataFrame) -> None:
    topic = frame.summary.str.extract(r"(beat|market|reached|ruined)")[0]
    count = Counter(zip(frame.split, topic, strict=True))
    assert set(count.values()) == {400, 50}
    assert len(count) == 12


def test_the_seed_decides() -> None:
    first, again, other = generate(90, 1), generate(90, 1), generate(90, 2)
    pd.testing.assert_frame_equal(first, again)
    assert first.document.tolist() != other.document.tolist()


@pytest.mark.parametrize("size", [1, 3, 11, 37])
def test_small_sizes_are_exact(size: int) -> None:
    assert len(generate(size, 0)) == size


def test_too_many_rows_are_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        generate(10**9, 0)


def test_reports_have_five_to_eight_sentences_and_few_words(frame: pd.DataFrame) -> None:
    assert set(frame.document.str.count(r"\.")) == {5, 6, 7, 8}
    assert set(frame.summary.str.count(r"\.")) == {1, 2}
    assert len({word.lower() for text in (*frame.document, *frame.summary) for word in bare(text)}) <= 250


def test_the_report_decides_the_summary(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        assert from_report(row.document) == row.summary, row.document


def test_the_salient_words_suffice(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        words = bare(row.document)
        assert row.salient == sorted(set(row.salient))
        assert from_salient([words[i] for i in row.salient]) == row.summary, row.document


def test_each_salient_word_is_needed(frame: pd.DataFrame) -> None:
    """Every one is in the summary, but for the verb that the summary replaces."""
    for row in frame.itertuples():
        words, said = bare(row.document), bare(row.summary)
        assert {words[i].lower() for i in row.salient} - {"decided"} <= {word.lower() for word in said}


def unigram_f1(candidate: str, reference: str) -> float:
    """ROUGE-1 F1 (Lin 2004) over lower-case words without marks."""
    found, wanted = (Counter(word.lower() for word in bare(text)) for text in (candidate, reference))
    shared = (found & wanted).total()
    return 2 * shared / (found.total() + wanted.total())


def test_copying_a_sentence_is_a_bad_summary(frame: pd.DataFrame) -> None:
    lead, best, exact = [], [], 0
    for row in frame.itertuples():
        sentences = re.findall(r"[^.]+\.", row.document)
        scores = [unigram_f1(sentence.strip(), row.summary) for sentence in sentences]
        lead.append(scores[0])
        best.append(max(scores))
        exact += any(sentence.strip() == row.summary for sentence in sentences)
    assert sum(lead) / SIZE < 0.35
    assert sum(best) / SIZE < 0.6
    assert exact == 0


def test_what_is_salient_may_stand_anywhere_after_the_first_sentence(frame: pd.DataFrame) -> None:
    """The sentence with most salient words: no place in the report has it in more than two cases of five."""
    places = Counter()
    for row in frame.itertuples():
        words = row.document.split(" ")
        sentence = [sum(word.endswith(".") for word in words[:i]) for i in row.salient]
        places[max(sentence, key=lambda n: (sentence.count(n), n))] += 1
    assert set(places) == set(range(1, 8))
    assert max(places.values()) < 0.4 * SIZE


def test_pairs_of_test_reports_never_occur_in_training(frame: pd.DataFrame) -> None:
    """Seen from the text: person and goods, thing and town, person and team, winner and loser, town and vehicle."""
    seen: dict[str, set[tuple[str, str]]] = {split: set() for split in ("train", "valid", "test")}
    patterns = (
        rf"{PERSON} (?:sold|found buyers for|took) {NUMBER} {GOODS}",
        rf"the {THING} in {TOWN}",
        rf"{PERSON} almost decided the match for the {TEAM}",
        rf"{PERSON} decided (?:the match|everything) for the {TEAM}",
        rf"The {TEAM} beat the {TEAM}",
        rf"reached {TOWN}. A {VEHICLE}",
    )
    for row in frame.itertuples():
        for pattern in patterns:
            for found in re.findall(pattern, f"{row.document} {row.summary}"):
                seen[row.split].add((found[0], found[-1]))
    assert len(seen["train"]) > 150
    assert all(held_out(pair) is None for pair in seen["train"])
    for split in ("valid", "test"):
        reserved = {pair for pair in seen[split] if held_out(pair) == split}
        assert len(reserved) > 10
        assert not reserved & seen["train"]


def test_test_has_no_new_words(frame: pd.DataFrame) -> None:
    words = {
        split: {w for text in (*part.document, *part.summary) for w in bare(text)}
        for split, part in frame.groupby("split")
    }
    assert words["valid"] | words["test"] <= words["train"]
