"""Choosing the device, the precision and the matrix multiplication."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Literal

import torch

from attention_lab.errors import InputError

# CPUs on which oneDNN's float32 products are as exact as MKL's and twice as fast: AMD's Zen 5, with 190 to 204 against
# 87 to 94 GFLOP/s on one thread of torch 2.13. Zen 4 (family 25) has 110 against 103 for large products, less for
# small ones.
ONEDNN = {("AuthenticAMD", "26")}


def choose(name: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The device of that name; `auto` takes a GPU if there is one.

    Raises:
        InputError: the device is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, works in there.items() if works))
    if not there[name]:
        raise InputError(f"train.device: PyTorch sees no {name} here; use train.device=auto")
    return torch.device(name)


def precision(name: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Literal["no", "bf16"]:
    """Accelerate's name for the precision; `auto` is bfloat16 on a CUDA GPU that supports it, else float32."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"
    return "bf16" if name == "bfloat16" else "no"


def emulated(name: Literal["auto", "float32", "bfloat16"], device: torch.device) -> bool:
    """Whether this device has no instructions for the precision, as many CPUs for bfloat16: on AMD's Zen 3 with torch
    2.13, a product takes 40 times as long as in float32 and a step of training 19 times. Answers for x86 only."""
    if name != "bfloat16" or device.type != "cpu":
        return False
    there = torch.cpu.get_capabilities()
    return there["architecture"] == "x86_64" and not (there["avx512_bf16"] or there["amx_bf16"])


def prepare(device: torch.device, threads: int | None = None) -> str:
    """Set the number of threads; on a CPU let glibc keep freed memory; choose the float32 matrix multiplication.

    With PyTorch's "medium", float32 products on a CPU go to oneDNN. On the CPUs in `ONEDNN` that doubles the speed at
    full accuracy; on others it is no faster, or slower, or rounds to bfloat16. The choice depends on the CPU's name and
    a test of accuracy, never on timing: a busy machine could then choose differently in the next run, whose last bits,
    and so whose weights, would differ.

    Returns:
        The chosen setting of `torch.set_float32_matmul_precision`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device.type != "cpu":
        torch.set_float32_matmul_precision("high")
        return "high"
    keep_memory()
    torch.set_float32_matmul_precision("medium" if cpu() in ONEDNN else "highest")
    left, right = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(0)).unbind()
    exact = left.double() @ right.double()
    if (left @ right - exact).abs().max() > 1e-5 * exact.abs().max():
        torch.set_float32_matmul_precision("highest")
    return torch.get_float32_matmul_precision()


def cpu(information: Path = Path("/proc/cpuinfo")) -> tuple[str, str] | None:
    """Vendor and family of this machine's CPU as reported by Linux; None if not reported."""
    if not information.is_file():
        return None
    found = dict(re.findall(r"^(vendor_id|cpu family)\s*: (.+)$", information.read_text(), re.MULTILINE))
    return (found["vendor_id"], found["cpu family"]) if len(found) == 2 else None


def keep_memory() -> None:
    """Let glibc keep freed memory for the rest of the process.

    By default it returns the memory of a tensor of more than 32 MB to the system after each use, and takes fresh pages
    for the next one: for the same few tensors in every step, and getting a page costs more than filling it. Other
    allocators and systems are left alone.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped separately …
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: … and none is returned


def peak_memory(device: torch.device) -> int:
    """The peak memory of this process so far, in bytes; on a CUDA GPU, the memory that PyTorch reserved there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
