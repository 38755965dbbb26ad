"""Which device, which precision, which matrix multiplication."""

from __future__ import annotations

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
    """Set the number of threads and take the faster float32 matrix multiplication of the CPU, if it is as exact.

    PyTorch's "medium" hands float32 products to oneDNN. On CPUs with AVX-512 that doubles the speed and keeps float32
    accuracy; on others it may round to bfloat16. So it is measured on one product, against float64: the choice
    depends on the machine alone, not on timing, and so leaves results reproducible.

    Returns:
        The chosen setting of `torch.set_float32_matmul_precision`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device.type != "cpu":
        torch.set_float32_matmul_precision("high")
        return "high"
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 128, 128, generator=generator).unbind()
    exact = left.double() @ right.double()
    torch.set_float32_matmul_precision("medium")
    if (left @ right - exact).abs().max() / exact.abs().max() > 1e-5:
        torch.set_float32_matmul_precision("highest")
    return torch.get_float32_matmul_precision()
