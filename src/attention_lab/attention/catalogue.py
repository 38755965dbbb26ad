"""The machinery behind the catalogue: what a mechanism is, which options it has, and how its parts are built.

To add a mechanism, add a row to `rows.py`. If it needs a new part, add a class to the file of that kind (`scores.py`,
`normalisers.py`, `patterns.py`, `positions.py`, `biases.py`, `heads.py`, `operations.py`, `kernels/`) and a line to
that file's dict. The tests of the law cover every row automatically.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attention_lab.attention.biases import BIASES, SameWord
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import PLACES, Place, Sizes, Weights
from attention_lab.attention.heads import HEADS, Heads
from attention_lab.attention.kernels import KERNELS, Kernelled
from attention_lab.attention.normalisers import NORMALISERS
from attention_lab.attention.operations import OPERATIONS, Operation
from attention_lab.attention.patterns import PATTERNS
from attention_lab.attention.positions import POSITIONS
from attention_lab.attention.scores import SCORES
from attention_lab.errors import InputError

CHOICES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "score": SCORES,
    "normaliser": NORMALISERS,
    "pattern": PATTERNS,
    "position": POSITIONS | BIASES,
    "heads": HEADS,
    "operation": OPERATIONS,
    "kernel": KERNELS,
}


@dataclass(frozen=True)
class Mechanism:
    """One way to compute weights W (B, H, Lq, Lk) from queries and keys; the output is W·v.

    paper: its source. formula: its weights. when: a line on when to use it. cost: time, in terms of L and D.
    score … operation: names in the dicts of their files. position None: the model's own, in self-attention.
    kernel: for a mechanism that is not a composition; replaces score, normaliser and pattern.
    places: where it is valid. why: the reason it is not valid in the other places.
    options: values that differ from the parts' own defaults.
    """

    name: str
    paper: str
    formula: str
    when: str = ""
    cost: str = "L²D"
    score: str = "scaled_dot"
    normaliser: str = "softmax"
    pattern: str = "full"
    position: str | None = None
    heads: str = "separate"
    operation: str = "none"
    kernel: str | None = None
    places: tuple[Place, ...] = PLACES
    why: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, str]:
        """The parts that make up this mechanism, as {kind: name}."""
        core = ["score", "normaliser", "pattern"] if self.kernel is None else ["kernel"]
        kinds = [*core, "position", "heads", "operation"]
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind) is not None}

    @property
    def weights(self) -> Weights:
        """What kind of weights it has, as declared by its parts."""
        if self.kernel is not None:
            return KERNELS[self.kernel].weighs
        return OPERATIONS[self.operation].weighs or NORMALISERS[self.normaliser].weighs


PARTS = ("score", "normaliser", "pattern", "position", "heads", "operation")  # what `composed` can choose
MAY_BE_ZERO = frozenset(("window", "tokens", "blocks", "prefix", "lambda_init"))  # other numbers must be positive
MOST = 2**20  # upper limit of integer options: positions, features, rounds


def mechanism(name: str, options: dict[str, Any] | None = None) -> Mechanism:
    """Return the mechanism of that name, with these options.

    `composed` is not a row of the catalogue: its options name the parts (score, normaliser, pattern, position, heads,
    operation) and set the options of these.

    Raises:
        InputError: there is no such mechanism, part or option (the message lists the valid ones), or a value has the
            wrong type or is out of range.
    """
    from attention_lab.attention.rows import CATALOGUE

    given = dict(options or {})
    if name == "composed":
        row = Mechanism(name="composed", paper="", formula="as chosen")
        for kind in PARTS:
            if kind in given:
                chosen: Any = given.pop(kind)
                if str(chosen) not in CHOICES[kind]:
                    known = ", ".join(CHOICES[kind])
                    raise InputError(f"attention.options.{kind}: there is no {chosen!r}; choose one of {known}")
                row = replace(row, **{kind: chosen})
    elif name in CATALOGUE:
        row = CATALOGUE[name]
    else:
        names = [*CATALOGUE, "composed"]
        near = [known for known in names if name in known][:3] or difflib.get_close_matches(name, names, cutoff=0.5)
        meant = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise InputError(
            f"attention.mechanism: there is no mechanism {name!r}{meant}; choose one of {', '.join(names)}"
        )
    known_options = available(row)
    for option, value in given.items():
        if option not in known_options:
            known = ", ".join([*PARTS] * (name == "composed") + [*known_options]) or "none"
            raise InputError(f"attention.options: {name} has no option {option!r}; it has {known}")
        default = known_options[option]
        if not _alike(value, default):
            raise InputError(f"attention.options.{option} of {name} should be like {default!r}, not {value!r}")
        if not isinstance(value, bool | str) and not (value >= 0 if option in MAY_BE_ZERO else value > 0):
            least = "0 or more" if option in MAY_BE_ZERO else "above 0"
            raise InputError(f"attention.options.{option} of {name} must be {least}, not {value!r}")
        most = MOST if isinstance(value, int) else sys.float_info.max
        if not isinstance(value, str) and not value <= most:
            raise InputError(f"attention.options.{option} of {name} must be at most {most}, not {value!r}")
    return replace(row, options={**row.options, **given})


def _alike(value: Any, default: Any) -> bool:
    """Whether a value has the type of the default. An integer is also accepted for None and for a float."""
    if default is None:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def available(row: Mechanism) -> dict[str, Any]:
    """The options of a mechanism with their values: the keyword arguments that its parts take."""
    found: dict[str, Any] = {}
    for kind, name in row.parts.items():
        for parameter in inspect.signature(CHOICES[kind][name]).parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "maps":
                found[parameter.name] = parameter.default
    return {**found, **row.options}


def build(
    row: Mechanism, sizes: Sizes, *, dropout: float, rotary: bool, same: bool = False
) -> tuple[Heads, Composition | Kernelled]:
    """Build the parts of a layer with this mechanism.

    Args:
        same: let it use which words are the same. Ignored for a kernel, which has no score for each pair.

    Raises:
        InputError: the mechanism is not valid in that place, or its parts do not fit together.
    """
    if sizes.place not in row.places:
        raise InputError(f"attention: {row.name} is not for {sizes.place.replace('_', ' ')}-attention: {row.why}")

    def make(kind: str, name: str, **more: Any) -> Any:
        part = CHOICES[kind][name]
        names = inspect.signature(part).parameters
        return part(part_sizes, **more, **{k: v for k, v in row.options.items() if k in names})

    part_sizes = sizes
    operation: Operation = make("operation", row.operation)
    if operation.maps > 1 and "maps" not in inspect.signature(HEADS[row.heads]).parameters:
        raise InputError(f"attention: the operation {row.operation} needs heads of its own, not {row.heads}")
    heads: Heads = make("heads", row.heads, **({"maps": operation.maps} if operation.maps > 1 else {}))
    own = row.position or ("rotary" if rotary and sizes.place != "cross" else "none")
    # If an operation combines several maps per head, the other parts see `maps` times as many, narrower heads.
    part_sizes = replace(sizes, heads=sizes.heads * operation.maps, head=heads.score_width)
    position = make("position", own)
    if row.kernel is not None:
        return heads, Kernelled(make("kernel", row.kernel), position, operation)
    if same:
        position = SameWord(part_sizes, position)
    composition = Composition(
        make("score", row.score),
        position,
        operation,
        make("normaliser", row.normaliser),
        make("pattern", row.pattern),
        dropout,
    )
    return heads, composition
