"""The catalogue in a terminal, a file and another program."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import typing
from pathlib import Path

import pytest
import torch
from dvc.utils.hydra import apply_overrides
from rich.cells import cell_len
from typer.testing import CliRunner

from attention_lab import cli, params
from attention_lab.attention import CATALOGUE, PLACES, mechanism
from attention_lab.attention.catalogue import CHOICES, available
from attention_lab.attention.contract import Weights
from attention_lab.errors import InputError
from attention_lab.mechanisms import COLUMNS, READ, WRITTEN, answer, picture, table

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli.commands, ["mechanisms", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def names(*filters: str) -> list[str]:
    return [row["name"] for row in json.loads(run("--json", *filters))]


def lines_of(text: str, width: int) -> list[str]:
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(cell_len, lines)) <= width
    return lines


def test_a_file_gets_a_line_for_every_row_and_nothing_is_cut() -> None:
    head, *lines = run().split("\n\n")[0].splitlines()
    assert re.split("  +", head) == list(COLUMNS)
    assert len(lines) == len(CATALOGUE)
    starts = [cell_len(head[: head.index(title)]) for title in COLUMNS[1:-1]] + [cell_len(head) - len(COLUMNS[-1])]
    for line, row in zip(lines, CATALOGUE.values(), strict=True):
        cells = re.split("  +", line)
        assert cells[:4] == [row.name, row.formula, row.paper, row.cost]
        assert cells[4] == "".join(letter for place, letter in zip(PLACES, "edx", strict=True) if place in row.places)
        assert cells[5] == row.weights
        for start, cell in zip(starts, cells[1:], strict=True):
            assert starts_at(line, start, cell)


def starts_at(line: str, column: int, cell: str) -> bool:
    """Does a cell stand in that column of the terminal?"""
    return any(
        line[index:].startswith(cell) and cell_len(line[:index]) == column and line[index - 2 : index] == "  "
        for index in range(len(line))
    )


@pytest.mark.parametrize("width", [90, 100, 120])
def test_a_terminal_gets_every_row_within_its_width_and_nothing_is_cut(width: int) -> None:
    head, *lines = lines_of(table(list(CATALOGUE.values()), width), width)
    starts = [head.index(f" {title}") + 1 if title != "name" else 0 for title in COLUMNS]
    found_rows: list[list[str]] = []
    for line in lines[: lines.index("")]:
        cells = [between(line, *pair) for pair in zip(starts, [*starts[1:], width], strict=True)]
        if cells[0]:
            found_rows.append(cells)
        else:
            found_rows[-1] = [before + cell for before, cell in zip(found_rows[-1], cells, strict=True)]
    for cells, row in zip(found_rows, CATALOGUE.values(), strict=True):
        letters = "".join(letter for place, letter in zip(PLACES, "edx", strict=True) if place in row.places)
        whole = (row.name, row.formula, row.paper, row.cost, letters, row.weights)
        assert cells == [cell.replace(" ", "") for cell in whole]
    assert len(lines) < 5 * len(CATALOGUE)  # a formula in shreds is not easily read


def between(line: str, start: int, end: int) -> str:
    """What stands in those columns of the terminal, without blanks."""
    return "".join(char for i, char in enumerate(line) if start <= cell_len(line[:i]) < end and char != " ")


def test_the_command_asks_for_the_width_of_the_terminal_only_where_there_is_one(monkeypatch) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr("attention_lab.mechanisms.answer", lambda *_, width, **__: asked.append(width) or "")
    monkeypatch.setenv("COLUMNS", "117")
    run()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    cli.mechanisms()
    assert asked == [None, 117]


def test_json_holds_all_that_the_catalogue_says() -> None:
    rows = json.loads(run("--json"))
    assert [row["name"] for row in rows] == list(CATALOGUE)
    for row in rows:
        kept = CATALOGUE[row["name"]]
        assert list(row) == list(rows[0])
        assert row["options"] == available(kept)
        assert row["parts"] == kept.parts
        assert tuple(row["places"]) == kept.places
        for key in ("formula", "paper", "when", "cost", "weights", "why"):
            assert row[key] == getattr(kept, key)
    assert json.loads(run("--json", "topk")) == rows[list(CATALOGUE).index("topk")]
    assert run("--json") == run("--json")


def test_filters_leave_what_they_say() -> None:
    for place in PLACES:
        assert names("--place", place) == [row.name for row in CATALOGUE.values() if place in row.places]
    for kind in typing.get_args(Weights):
        assert names("--weights", kind) == [row.name for row in CATALOGUE.values() if row.weights == kind]
    assert names("--search", "LUONG", "--place", "cross") == [
        row.name for row in CATALOGUE.values() if "Luong" in row.paper and "cross" in row.places
    ]
    assert "relu_squared" in names("--search", "power")  # an option
    assert names("--search", "global_window") == ["longformer"]  # a part
    assert "softcap" in names("--search", "without bound")  # when to use it
    assert "scaled_dot_product" not in names("--search", "score")  # which is no field's content
    assert run("--search", "sparsemax").splitlines()[1].startswith("sparsemax ")


def test_filters_know_every_place_and_every_kind_of_weights() -> None:
    hints = typing.get_type_hints(cli.mechanisms)
    assert typing.get_args(typing.get_args(hints["place"])[0]) == PLACES
    kinds = typing.get_args(Weights)
    assert typing.get_args(typing.get_args(hints["weights"])[0]) == kinds


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_page_says_what_there_is_to_know(name: str) -> None:
    row, text = CATALOGUE[name], run(name)
    flat = " ".join(text.split())
    assert max(map(cell_len, text.splitlines())) <= 120
    for said in (row.formula, row.paper, row.when, row.cost, f"dvc exp run -S attention.mechanism={name}"):
        assert " ".join(said.split()) in flat
    for kind, part in row.parts.items():
        found_file = re.search(rf"^  {kind} +{part}: .+?^ +(src/\S+\.py)$", text, re.MULTILINE | re.DOTALL)
        assert f"class {CHOICES[kind][part].__name__}" in (ROOT / found_file[1]).read_text(encoding="utf-8")
    for option, value in available(row).items():
        assert f"\n  {option:<11} {json.dumps(value)}\n" in text
    assert flat.count("not in") >= 3 - len(row.places)
    assert (" ".join(row.why.split()) in flat) == (len(row.places) < 3 or not row.why)
    assert ("no weights to look at" in text) == (row.weights == "none")


def test_a_page_offers_an_option_of_the_mechanisms_own() -> None:
    assert "-S '+attention.options={window: 16}'" in run("local")
    assert "-S '+attention.options={key_heads: 1}'" in run("multi_query")
    assert "attention.options" not in run("sparsemax")
    assert "model.position" in run("sparsemax")
    assert "model.position" not in run("alibi")


@pytest.mark.parametrize("name", ["local", "composed"])
def test_dvc_takes_the_options_of_the_command(name: str, tmp_path: Path) -> None:
    copied = shutil.copy(ROOT / "params.yaml", tmp_path)
    for command in re.findall("^  dvc exp run .+$", run(name), re.MULTILINE):
        apply_overrides(copied, [word for word in shlex.split(command)[3:] if word != "-S"])
    assert params.load(Path(copied)).attention.options["window"] in (8, 16)


def test_the_sentence_of_a_part_is_its_first() -> None:
    text = " ".join(run("additive").split())
    said = "additive: vᵀ tanh(q + k) (Bahdanau et al. 2014, arXiv 1409.0473, appendix A.1.2; its weights: equation 6)."
    assert f"{said} src/" in text


@pytest.mark.parametrize("name", [row.name for row in CATALOGUE.values() if row.weights != "none"])
def test_a_picture_has_a_shade_for_every_pair_of_words(name: str) -> None:
    row = CATALOGUE[name]
    drawn = picture(row)
    queries = WRITTEN if row.places[0] == "cross" else READ
    head, lines = drawn[0], drawn[1 : len(queries) + 1]
    assert head.split() == READ
    assert [line.split()[0] for line in lines] == queries
    shades = set("".join(line.split(maxsplit=1)[1] for line in lines)) - {" "}
    assert shades <= set("░▒▓█")
    assert "█" in shades
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    for line in lines:
        for start, word in zip(starts, READ, strict=True):
            assert len(set(line.ljust(len(head))[start : start + len(word)])) == 1
    if row.places[0] == "decoder_self":
        for index, line in enumerate(lines):
            assert not line[starts[index] + len(READ[index]) :].strip()


def test_pictures_show_what_is_special() -> None:
    def grid(name: str) -> list[str]:
        drawn = picture(CATALOGUE[name])
        starts = [match.start() for match in re.finditer(r"\S+", drawn[0])]
        return ["".join(line.ljust(80)[start] for start in starts) for line in drawn[1 : len(READ) + 1]]

    assert all((grid("local")[i][j] == " ") == (abs(i - j) > 2) for i in range(len(READ)) for j in range(len(READ)))
    assert grid("uniform") == ["█" * len(READ)] * len(READ)
    assert any(" " in line for line in grid("sparsemax"))
    assert not any(" " in line for line in grid("additive"))
    assert "window = 2" in "\n".join(picture(CATALOGUE["local"]))
    assert "whatever the sign" in "\n".join(picture(CATALOGUE["differential"]))
    assert "whatever the sign" not in "\n".join(picture(CATALOGUE["local"]))


def test_what_is_all_but_nothing_is_blank(monkeypatch) -> None:
    grid = torch.full((10, 10), 9e-7).fill_diagonal_(0.5)
    monkeypatch.setattr("attention_lab.mechanisms._weights", lambda *_: grid)
    drawn = picture(CATALOGUE["dot"])
    assert [line.split()[1] for line in drawn[1:11]] == ["█" * len(word) for word in READ]
    assert "Blank: below 0.000001; █: up to 0.50." in drawn[-1]


def test_a_picture_is_always_the_same_and_leaves_chance_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = picture(CATALOGUE["additive"])
    assert torch.equal(torch.rand(3), expected)
    assert picture(CATALOGUE["additive"]) == first


def test_composed_shows_the_parts_there_are() -> None:
    text = " ".join(run("composed").split())
    for kind, parts in CHOICES.items():
        assert (f"{kind} {', '.join(parts)}" in text) == (kind != "kernel")
    example = json.loads(re.sub(r"(\w+)", r'"\1"', re.search(r"options=(\{.*\})'", text)[1]))
    row = mechanism("composed", {key: int(value) if value.isdigit() else value for key, value in example.items()})
    assert (row.score, row.normaliser, row.pattern) == ("additive", "sparsemax", "local")


def test_an_unknown_name_ends_with_one_sentence_and_near_ones(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["attention-lab", "mechanisms", "sparsmax"])
    with pytest.raises(SystemExit) as end:
        cli.app()
    assert end.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    sentence = "there is no mechanism 'sparsmax' (did you mean sparsemax?); choose one of scaled_dot_product, dot,"
    assert said.err.startswith(f"attention-lab: attention.mechanism: {sentence}")
    assert said.err.count("\n") == 1
    with pytest.raises(InputError, match="did you mean multi_query or grouped_query"):
        mechanism("query")
    with pytest.raises(InputError, match="did you mean synthesizer_random or synthesizer_dense"):
        mechanism("syn")
    with pytest.raises(InputError, match="'xyzzy'; choose one of"):
        mechanism("xyzzy")


def test_what_cannot_be_answered_is_refused() -> None:
    none = {"place": None, "weights": None, "search": None, "as_json": False, "width": None}
    with pytest.raises(InputError, match="either the name of a mechanism or filters"):
        answer("sparsemax", **{**none, "place": "cross"})
    with pytest.raises(InputError, match="no mechanism passes these filters"):
        answer(None, **{**none, "search": "xyzzy"})


def test_help_teaches() -> None:
    text = run("--help")
    for said in ("attention-lab mechanisms sparsemax", "dvc exp run -S attention.mechanism=NAME", "--json | jq"):
        assert said in text
