"""Which device, which precision, which matrix multiplication."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from typing import Literal

import torch

from attention_lab.errors import InputError


def choose(name: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one.

    Raises:
        InputError: that device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, works in there.items() if works))
    if not there[name]:
        raise InputError(f"train.device: PyTorch sees no {name} here; use train.device=auto")
    return torch.device(name)


def precision(name: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Literal["no", "bf16"]:
    """Accelerate's word for the precision; `auto` is bfloat16 on a GPU that has it and float32 elsewhere."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    return "bf16" if name == "bfloat16" else "no"


def prepare(device: torch.device, threads: int | None = None) -> str:
    """Set the number of threads, keep memory, and choose the float32 matrix multiplication.

    PyTorch's "medium" hands float32 products of a CPU to oneDNN. On some CPUs that doubles the speed at full
    accuracy, on others it is slower, or rounds to bfloat16. So both are tried on one product: "medium" is taken where
    it is as exact, against float64, and at least half as fast again. Machines lie far off that bound on either side,
    so the choice, and with it the last bits of a result, is the same in every run on a machine. It is tried on one
    thread: the time of several is also what they wait for one another, which on a busy machine is most of it.

    Returns:
        The chosen setting of `torch.set_float32_matmul_precision`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device.type != "cpu":
        torch.set_float32_matmul_precision("high")
        return "high"
    keep_memory()
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 512, 512, generator=generator).unbind()
    exact = left.double() @ right.double()
    seconds: dict[str, float] = {}
    given = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(7):
        for name in ("highest", "medium"):
            torch.set_float32_matmul_precision(name)
            started = time.process_time()
            product = left @ right
            seconds[name] = min(seconds.get(name, math.inf), time.process_time() - started)
    torch.set_num_threads(given)
    good = (product - exact).abs().max() / exact.abs().max() <= 1e-5
    torch.set_float32_matmul_precision("medium" if good and 1.5 * seconds["medium"] < seconds["highest"] else "highest")
    return torch.get_float32_matmul_precision()


def keep_memory() -> None:
    """Let glibc keep what has been freed, for the rest of the process.

    Beyond 32 MB a tensor, it gives memory back to the system after each use, and takes fresh pages for the next one of
    that size: the same few tensors in every step, and each page costs more than filling it. Other allocators, and
    other systems, are left alone.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no piece comes fresh from the system …
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: … and none goes back


def peak_memory(device: torch.device) -> int:
    """The most memory, in bytes, that this process has held so far: on a GPU what PyTorch reserved there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
