"""Time and memory of attention by sequence length, compared with other implementations.

    python benchmarks/attention.py claims   the ratios that the project promises
    python benchmarks/attention.py curves   all mechanisms, 128 to 8192 positions
    python benchmarks/attention.py curves --names linear,local --lengths 1024,4096

Everything is measured side by side in one process: a round runs every variant once, in a new order, and a figure is
the median of its rounds. Peak memory is what the process held on top of what it held before (Linux), or what PyTorch
allocated (GPU). Machines differ and are shared, so compare figures within a run, never between runs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from attention_lab.attention import CATALOGUE, Cache, MultiHeadAttention, Place, mechanism
from attention_lab.attention.contract import Call, Where, here
from attention_lab.device import keep_memory

MEASURED = Path(__file__).parent.parent / "docs" / "measured"
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
Step = Callable[[], Any]


# --- measuring ------------------------------------------------------------------------------------------------------


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, float]:
    """The median time of each step over rounds; each round runs all steps, in a new order."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = random.Random(0)
    for turn in range(rounds + 1):
        for name in order.sample(list(steps), len(steps)):
            synchronise(device)
            started = time.perf_counter()
            steps[name]()
            synchronise(device)
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_bytes(step: Step, device: torch.device) -> int | None:
    """The most memory that a step holds on top of what was held before it; None if that cannot be measured."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else freed memory that glibc keeps would hide what the step needs
    clear.write_text("5")  # resets the high-water mark
    before = _kilobytes(status, "VmRSS")
    step()
    return 1024 * max(0, _kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def forward_and_backward(layer: Callable[[Tensor], Tensor], inputs: Tensor) -> Step:
    def step() -> None:
        inputs.grad = None
        layer(inputs).sum().backward()

    return step


# --- peers ----------------------------------------------------------------------------------------------------------


class Projected(nn.Module):
    """Projections around a function of queries, keys and values (B, H, L, D): the minimum cost of a layer of ours."""

    def __init__(self, width: int, heads: int, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        split = (linear(inputs).unflatten(-1, (self.heads, -1)).transpose(1, 2) for linear in self.linears())
        return self.output(self.attend(*split).transpose(1, 2).flatten(2))

    def linears(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value


def naive(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1) @ value


def naive_additive(query: Tensor, key: Tensor, vector: Tensor) -> Tensor:
    """Bahdanau's score with the tanh of all pairs in memory; vector (H, D)."""
    return torch.einsum("bhqkd,hd->bhqk", torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)), vector)


def peers(width: int, heads: int) -> dict[str, Callable[[Tensor], Tensor]]:
    from x_transformers.x_transformers import Attention

    theirs = nn.MultiheadAttention(width, heads, batch_first=True)
    lucid = Attention(dim=width, heads=heads, dim_head=width // heads, flash=True)
    return {
        "PyTorch's scaled_dot_product_attention": Projected(width, heads, F.scaled_dot_product_attention),
        "PyTorch's MultiheadAttention": lambda inputs: theirs(inputs, inputs, inputs, need_weights=False)[0],
        "x-transformers": lambda inputs: lucid(inputs),
        "naive softmax": Projected(width, heads, naive),
    }


# --- curves ---------------------------------------------------------------------------------------------------------


@app.command()
def curves(
    names: Annotated[str, typer.Option(help="Mechanisms, separated by commas, or `all`.")] = "all",
    lengths: Annotated[
        str, typer.Option(help="Sequence lengths, separated by commas.")
    ] = "128,256,512,1024,2048,4096,8192",
    batch: Annotated[int, typer.Option(help="Number of sequences.")] = 1,
    heads: Annotated[int, typer.Option(help="Number of heads.")] = 8,
    head: Annotated[int, typer.Option(help="Width of each head.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds per length; use fewer if a step takes seconds.")] = 5,
    limit: Annotated[
        float, typer.Option(help="Skip measurements expected to take longer than this, in seconds.")
    ] = 8.0,
    memory: Annotated[float, typer.Option(help="Skip measurements expected to need more than this, in GB.")] = 6.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[
        Path | None, typer.Option(help="Folder for curves.json, .md and .png; with all rows docs/measured.")
    ] = None,
) -> None:
    """Time and peak memory of one layer, forward and backward, by sequence length: every row and four peers.

    If only some rows are measured, files are written only with `--output`: one table cannot hold figures of two runs.
    """
    where, width = torch.device(device), heads * head
    wanted = list(CATALOGUE) if names == "all" else names.split(",")
    sizes = [int(length) for length in lengths.split(",")]
    torch.manual_seed(0)
    layers: dict[str, Callable[[Tensor], Tensor]] = {}
    for name, peer in peers(width, heads).items():
        layers[name] = peer.to(where) if isinstance(peer, nn.Module) else peer
    for name in wanted:
        layers[name] = ours(name, width, heads, max(sizes), where)
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in layers}
    for length in tqdm(sizes, desc="lengths"):
        inputs = torch.randn(batch, length, width, device=where, requires_grad=True)
        steps = {
            name: forward_and_backward(layer, inputs)
            for name, layer in layers.items()
            if _expected(found[name], length, "seconds") <= limit
            and _expected(found[name], length, "bytes") <= memory * 1e9
        }
        peak = {name: peak_bytes(step, where) for name, step in steps.items()}
        seconds = seconds_of(steps, rounds, where)
        for name in steps:
            found[name][str(length)] = {"seconds": seconds[name], "bytes": float(peak[name] or 0)}
    about = {"batch": batch, "heads": heads, "head": head, "rounds": rounds, "device": device}
    about |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    if folder := output or (MEASURED if names == "all" else None):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "curves.json").write_text(json.dumps({"about": about, "curves": found}, indent=1) + "\n")
        (folder / "curves.md").write_text(table(found, sizes) + "\n")
        picture(found, folder / "curves.png")
    typer.echo(table(found, sizes))


def ours(name: str, width: int, heads: int, length: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A layer with that mechanism, in the first place where it is valid; cross-attention reads its own inputs."""
    row = mechanism(name)
    place: Place = row.places[0]
    layer = MultiHeadAttention(width, heads, row, place, rotary=True, length=length).to(device)
    return lambda inputs: layer(inputs, inputs if place == "cross" else None)[0]


def _expected(known: dict[str, dict[str, float]], length: int, what: str) -> float:
    """Extrapolated from the last two lengths as a power of L; 0 while there are fewer than two."""
    if len(known) < 2:
        return 0.0
    (short, before), (long, last) = list(known.items())[-2:]
    if length > 2 * int(long):
        return math.inf  # it was skipped at the previous length
    growth = max(1.0, last[what] / max(1e-9, before[what])) ** (
        math.log(length / int(long)) / math.log(int(long) / int(short))
    )
    return last[what] * growth


def exponent(known: dict[str, dict[str, float]], what: str = "seconds") -> float | None:
    """The slope of the last three points in a log-log plot."""
    points = [(math.log(int(length)), math.log(max(1e-9, value[what]))) for length, value in known.items()][-3:]
    if len(points) < 3:
        return None
    return float(statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope)


def table(found: dict[str, dict[str, dict[str, float]]], sizes: list[int]) -> str:
    """Milliseconds and megabytes by length, and the exponent of time, as Markdown."""
    lines = ["| mechanism | " + " | ".join(f"L = {size}: ms, MB" for size in sizes) + " | time grows as |"]
    lines.append("|---|" + "---:|" * (len(sizes) + 1))
    for name, known in found.items():
        cells = []
        for size in sizes:
            point = known.get(str(size))
            cells.append("" if point is None else f"{1e3 * point['seconds']:.3g}, {point['bytes'] / 1e6:.3g}")
        slope = exponent(known)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {'' if slope is None else f'L^{slope:.2f}'} |")
    return "\n".join(lines)


def picture(found: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw the log-log plot; peers are dashed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(21, 8), layout="constrained")
    colours = plt.get_cmap("turbo")
    for axis, what, label, unit in (
        (axes[0], "seconds", "time (ms)", 1e3),
        (axes[1], "bytes", "peak memory (MB)", 1e-6),
    ):
        for index, (name, known) in enumerate(found.items()):
            style = "-" if name in CATALOGUE else "--"
            values = [unit * point[what] for point in known.values()]
            slope = exponent(known, what)
            text = name if slope is None else f"{name}  L^{slope:.2f}"
            axis.loglog([int(n) for n in known], values, style, color=colours(index / len(found)), label=text, lw=1.2)
        axis.set(xlabel="sequence length L", ylabel=label)
        axis.grid(alpha=0.3)
        # Next to the plot, because there are many lines and labels.
        axis.legend(fontsize=6, ncols=2, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle("One layer, forward and backward")
    figure.savefig(path, dpi=110)
    plt.close(figure)


# --- claims ---------------------------------------------------------------------------------------------------------


@app.command()
def claims(
    rounds: Annotated[int, typer.Option(help="Number of rounds; a figure is their median.")] = 7,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[Path, typer.Option(help="Folder for claims.json.")] = MEASURED,
) -> None:
    """The ratios that the project promises: B = 4, H = 8, D = 64, each against its peer in the same run."""
    where = torch.device(device)
    found: dict[str, Any] = {}
    for claim in (fused, windows, additive, decoding, linear):
        part = claim(where, rounds)
        found |= part
        typer.echo("\n".join(f"{name}: {value:.4g}" for name, value in part.items()))
    output.mkdir(parents=True, exist_ok=True)
    about = {"device": device, "rounds": rounds, "threads": torch.get_num_threads(), "torch": torch.__version__}
    (output / "claims.json").write_text(json.dumps({"about": about, **found}, indent=1) + "\n")


def core(name: str, length: int, device: torch.device, batch: int = 4, place: Place = "encoder_self", **o: Any) -> Any:
    """The mechanism between the projections, as a function of q, k, v (B, H, L, D)."""
    layer = MultiHeadAttention(512, 8, mechanism(name, o), place, length=length).to(device)
    inputs = torch.zeros(batch, length, 512, device=device)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        spots = here(length, device)
        call = Call(inputs, query, key, Where(spots, spots, causal=place == "decoder_self"))
        return layer.core(call, value)[0]

    return attend


def drawn(length: int, device: torch.device, batch: int = 4) -> list[Tensor]:
    return [torch.randn(batch, 8, length, 64, device=device, requires_grad=True) for _ in range(3)]


def both(attend: Callable[..., Tensor], tensors: list[Tensor]) -> Step:
    def step() -> None:
        for tensor in tensors:
            tensor.grad = None
        attend(*tensors).sum().backward()

    return step


def fused(device: torch.device, rounds: int) -> dict[str, float]:
    """Scaled dot-product attention, composed of parts, against the bare kernel of PyTorch."""
    found = {}
    for length in (128, 512, 1024, 2048):
        tensors = drawn(length, device)
        steps = {
            "ours": both(core("scaled_dot_product", length, device), tensors),
            "bare": both(F.scaled_dot_product_attention, tensors),
            "ours causal": both(core("scaled_dot_product", length, device, place="decoder_self"), tensors),
            "bare causal": both(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), tensors),
        }
        seconds = seconds_of(steps, rounds * (2048 // length), device)  # short steps vary more and cost less
        found[f"scaled_dot_product / bare, L = {length}"] = seconds["ours"] / seconds["bare"]
        found[f"the same, causal, L = {length}"] = seconds["ours causal"] / seconds["bare causal"]
    return found


def windows(device: torch.device, rounds: int) -> dict[str, float]:
    """A window of 128 over 8192 positions against full attention with the window as a mask (B = 1, for the latter)."""
    length = 8192
    tensors = drawn(length, device, batch=1)
    spots = torch.arange(length, device=device)
    mask = (spots[None] - spots[:, None]).abs() <= 128
    steps = {
        "blocked": both(core("local", length, device, batch=1, window=128), tensors),
        "masked": both(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), tensors),
    }
    seconds = seconds_of(steps, max(3, rounds // 2), device)
    return {"masked / window of 128, L = 8192": seconds["masked"] / seconds["blocked"]}


def linear(device: torch.device, rounds: int) -> dict[str, float]:
    """How the time of linear attention grows from 1024 to 8192 positions, with glibc's defaults and with the settings
    of training (`device.keep_memory`, which affects the rest of the process, so it comes last).

    At 8192 positions, the result and the three gradients take 64 MB each in any implementation.
    """
    found = {}
    for how in ("", ", memory kept"):
        if how:
            keep_memory()
        for place in ("encoder_self", "decoder_self"):
            found[f"exponent of linear attention, {place}{how}"] = _growth(place, device, rounds)
    return found


def _growth(place: Place, device: torch.device, rounds: int) -> float:
    lengths = (1024, 2048, 4096, 8192)
    steps = {str(n): both(core("linear", n, device, place=place), drawn(n, device)) for n in lengths}
    seconds = seconds_of(steps, rounds, device)
    points = [(math.log(n), math.log(seconds[str(n)])) for n in lengths]
    return float(statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope)


def additive(device: torch.device, rounds: int) -> dict[str, float]:
    """Additive scores in pieces against the tanh of all pairs at once (B = 1, because the latter needs gigabytes)."""
    tensors = drawn(1024, device, batch=1)
    ours_core = core("additive", 1024, device, batch=1)
    vector = torch.randn(8, 64, device=device, requires_grad=True)
    steps = {
        "pieces": both(ours_core, tensors),
        "at once": both(lambda q, k, v: naive_additive(q, k, vector).softmax(-1) @ v, tensors),
    }
    peak = {name: peak_bytes(step, device) or 0 for name, step in steps.items()}
    seconds = seconds_of(steps, max(3, rounds // 2), device)
    return {
        "additive in pieces / at once, time": seconds["pieces"] / seconds["at once"],
        "additive in pieces / at once, peak memory": peak["pieces"] / max(1, peak["at once"]),
    }


@torch.inference_mode()
def decoding(device: torch.device, rounds: int) -> dict[str, float]:
    """A decoding step at position 4096 against one at position 16, for every kernel with a state."""
    found = {}
    for name, row in CATALOGUE.items():
        if row.kernel is None or "decoder_self" not in row.places:
            continue
        layer = MultiHeadAttention(512, 8, row, "decoder_self", length=8192).to(device).eval()
        token = torch.randn(4, 1, 512, device=device)
        steps: dict[str, Step] = {}
        for position in (16, 4096):
            cache = Cache()
            layer(torch.randn(4, position, 512, device=device), cache=cache)

            def step(cache: Cache = cache, layer: MultiHeadAttention = layer, token: Tensor = token) -> None:
                for _ in range(20):
                    layer(token, cache=cache)

            steps[str(position)] = step
        seconds = seconds_of(steps, 3 * rounds, device)
        found[f"{name}: step at 4096 / step at 16"] = seconds["4096"] / seconds["16"]
    return found


if __name__ == "__main__":
    app()
