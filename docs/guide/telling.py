"""Directives and roles of the pages.

```{mechanism} additive          code, picture, cost, use, test and paper of one row of the catalogue
:code: scores.Additive           the class to show; by default those that make the row
:cited: appendix A.1.2           where in the paper; must occur in the docstring of the class
:test: FILE::NAME                the test that proves it
:place: cross                    the place that the picture shows; by default the first where the row is valid
```
```{weights} additive            only the picture           ```{law}        the tests that all rows pass
```{cost} additive dot           measured cost              ```{chart} …    … as a picture
```{quality} additive dot        quality; by default of all ```{intervals}  … as a picture
```{flow}                        which stage reads what     ```{message}    an error message of the code
```

{row}`additive`  a link to its page          {bleu}`additive`    its BLEU and interval
{test}`FILE::NAME`  a test that exists       {claim}`…`          a figure of docs/measured/claims.json
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from attention_lab.attention import CATALOGUE, PLACES, Place
from attention_lab.attention.catalogue import CHOICES
from attention_lab.mechanisms import KINDS, PLACE_NAMES
from guide import figures, flow, measured, sources

CONTROLS = {"uniform", "frozen_random", "hard_coded"}
NUMBERS = "Numbers are hundredths; an empty cell is 0 (below 0.000001). Rows look at columns."


def picture(name: str, place: Place | None = None) -> str:
    """The weights of a mechanism with a caption, as Markdown; place: by default the first where it is valid."""
    row = CATALOGUE[name]
    place = place or row.places[0]
    if row.weights == "none":
        return "This mechanism mixes features as well as positions, so there are no word-to-word weights to show."
    options = "".join(f", {option} = {value}" for option, value in figures.options_of(row).items())
    said = (
        f"Weights of {PLACE_NAMES[place]} in the first two of {figures.HEADS} heads, untrained, with the same words "
        f"and projections as on the other pages{sources.plain(options)}. {NUMBERS}"
    )
    return f"````{{raw}} html\n<figure>{figures.maps(name, place)}<figcaption>{said}</figcaption></figure>\n````"


def code(name: str, classes: list[Any]) -> str:
    """The source code of classes, included from their files, as Markdown."""
    return "\n\n".join(
        f"```{{literalinclude}} /../{sources.file_of(found)}\n:pyobject: {found.__qualname__}\n"
        f":language: python\n:caption: {sources.file_of(found)}\n```"
        for found in classes
    )


class Telling(SphinxDirective):
    """A directive whose Markdown is generated when the site is built."""

    optional_arguments = 1
    final_argument_whitespace = True

    def markdown(self) -> str:
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        given = self.arguments[0].split() if self.arguments else []
        unknown = [name for name in given if name not in CATALOGUE]
        if unknown:
            raise self.error(f"there is no mechanism {', '.join(unknown)}")
        return given

    def run(self) -> list[nodes.Node]:
        for file in (sources.__file__, figures.__file__, measured.__file__, __file__):
            self.env.note_dependency(file)
        return self.parse_text_to_nodes(self.markdown())


class MechanismOf(Telling):
    required_arguments, optional_arguments = 1, 0
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {
        "code": directives.unchanged_required,
        "cited": directives.unchanged_required,
        "test": directives.unchanged_required,
        "place": lambda given: directives.choice(given, PLACES),
    }

    def markdown(self) -> str:
        (name,) = self.names
        row = CATALOGUE[name]
        classes = list(sources.own_parts(row).values())
        if "code" in self.options:
            wanted = self.options["code"].split()
            named = {found.__qualname__: found for kind in CHOICES for found in _parts(kind)}
            missing = [found for found in wanted if found not in named]
            if missing:
                raise self.error(f"no part of a mechanism is called {', '.join(missing)}")
            classes = [named[found] for found in wanted]
        cited = self.options.get("cited", "")
        docs = " ".join(" ".join((found.__doc__ or "").split()) for found in classes)
        for place in filter(None, cited.split("; ")):
            if place not in docs:
                raise self.error(f"{name}: the docstring of its code does not say {place!r}")
        paper = "; ".join(filter(None, (sources.plain(row.paper), cited)))
        places = ", ".join(PLACE_NAMES[place] for place in row.places)
        facts = {
            "Use it for": sources.plain(row.when),
            "Valid in": places,
            "Weights": f"{row.weights}: {KINDS[row.weights]}",
            "Proved by": ", ".join(f"{{test}}`{test}`" for test in self.options["test"].split()),
            "Paper": paper,
            "More": f"options, parts and quality: {{row}}`{name}`",
        }
        lines = [f"| {title} | {text} |" for title, text in facts.items()]
        table = "\n".join(["| | |", "|---|---|", *lines])
        return "\n\n".join([code(name, classes), picture(name, self.options.get("place")), table])


def _parts(kind: str) -> list[Any]:
    return [sources.part(kind, name) for name in CHOICES[kind]]


class WeightsOf(Telling):
    def markdown(self) -> str:
        return "\n\n".join(picture(name) for name in self.names)


class Cost(Telling):
    def markdown(self) -> str:
        return measured.cost_table(self.names)


class Quality(Telling):
    def markdown(self) -> str:
        return measured.quality_table(self.names or list(CATALOGUE))


class Chart(Telling):
    def markdown(self) -> str:
        known = measured.curves(self.names)
        against = measured.curves([name for name in ("scaled_dot_product",) if name not in known])
        drawn = figures.chart(known, against, f"time against positions: {', '.join(known)}")
        said = "Time of one layer, forward and backward. A line ends where longer inputs were too slow or too large."
        return f"````{{raw}} html\n<figure>{drawn}<figcaption>{said}</figcaption></figure>\n````"


class Intervals(Telling):
    def markdown(self) -> str:
        rows = {name: (run["bleu"], run["low"], run["high"]) for name, run in measured.quality().items()}
        said = "BLEU with its 95 % interval over test sentences, from one training each; controls have another colour."
        drawn = figures.intervals(rows, "BLEU", CONTROLS)
        return f"````{{raw}} html\n<figure>{drawn}<figcaption>{said}</figcaption></figure>\n````"


class Law(Telling):
    def markdown(self) -> str:
        tests = sources.tests_in(sources.ROOT / sources.LAW)
        return "\n".join(f"- {{test}}`{sources.LAW}::{name}`" for name in tests)


class Flow(Telling):
    def markdown(self) -> str:
        self.env.note_dependency(str(flow.DVC))
        said = "Stages from top to bottom, as in dvc.yaml. An arrow leads from a stage to one that reads its output."
        return f"````{{raw}} html\n<figure>{flow.drawn()}<figcaption>{said}</figcaption></figure>\n````"


class Message(SphinxDirective):
    """The text of an error message, which must occur in the code."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        if not sources.is_message(text):
            raise self.error(f"no InputError says: {text}")
        return [nodes.literal_block(text, text, language="none", classes=["message"])]


class RowRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        link = addnodes.pending_xref(
            "",
            nodes.literal(self.text, self.text),
            refdomain="std",
            reftype="doc",
            reftarget=f"/catalogue/{self.text}",
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        return [link], []


class TestRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        if not sources.is_test(self.text):
            message = self.inliner.reporter.error(f"there is no test {self.text}", line=self.lineno)
            return [], [message]
        file, _, name = self.text.partition("::")
        return [nodes.literal("", file.rpartition("/")[2] + (f" {name}" if name else ""), classes=["test"])], []


class BleuRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(measured.bleu(self.text))], []


class ClaimRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(f"{measured.read('claims')[self.text]:.2f}")], []


def setup(app: Sphinx) -> None:
    for name, directive in {
        "mechanism": MechanismOf,
        "weights": WeightsOf,
        "cost": Cost,
        "quality": Quality,
        "chart": Chart,
        "intervals": Intervals,
        "law": Law,
        "flow": Flow,
        "message": Message,
    }.items():
        app.add_directive(name, directive)
    for name, role in {"row": RowRole, "test": TestRole, "bleu": BleuRole, "claim": ClaimRole}.items():
        app.add_role(name, role())
