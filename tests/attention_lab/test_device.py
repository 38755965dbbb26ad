"""What a device is prepared for: a choice that is the same in every run on a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from attention_lab import device

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


def information(directory: Path, vendor: str, family: str) -> Path:
    path = directory / "cpuinfo"
    core = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\n"
    path.write_text(2 * core)
    return path


def test_vendor_and_family_are_read_from_what_linux_says(tmp_path: Path) -> None:
    assert device.cpu(information(tmp_path, "AuthenticAMD", "26")) == ("AuthenticAMD", "26")
    assert device.cpu(information(tmp_path, "GenuineIntel", "6")) == ("GenuineIntel", "6")
    (tmp_path / "arm").write_text("processor\t: 0\nCPU implementer\t: 0x41\n")
    assert device.cpu(tmp_path / "arm") is None
    assert device.cpu(tmp_path / "missing") is None


@pytest.mark.parametrize("found", [("AuthenticAMD", "25"), ("GenuineIntel", "6"), None])
def test_other_cpus_keep_the_default(found: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu", lambda: found)
    assert device.prepare(CPU) == torch.get_float32_matmul_precision() == "highest"


def exactly(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.mm(one.double(), other.double()).to(one.dtype)


def rounded(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    product = exactly(one, other)
    return product if product.dtype == torch.float64 else product.bfloat16().float()


@pytest.mark.parametrize(("product", "chosen"), [(exactly, "medium"), (rounded, "highest")])
def test_onednn_is_taken_where_it_pays_and_is_exact(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu", lambda: ("AuthenticAMD", "26"))
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert device.prepare(CPU) == torch.get_float32_matmul_precision() == chosen


def test_no_clock_has_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> float:
        raise AssertionError("a clock was read")

    for name in ("time", "perf_counter", "process_time", "monotonic", "thread_time"):
        monkeypatch.setattr(time, name, read)
    assert len({device.prepare(CPU) for _ in range(3)}) == 1


def test_threads_are_set_where_they_are_given() -> None:
    before = torch.get_num_threads()
    device.prepare(CPU, 3)
    assert torch.get_num_threads() == 3
    device.prepare(CPU, None)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("found", "slow"),
    [
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_a_precision_without_instructions_is_seen(
    found: dict[str, object], slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert device.emulated("bfloat16", CPU) is slow
    assert not device.emulated("float32", CPU)
    assert not device.emulated("auto", CPU)
    assert not device.emulated("bfloat16", torch.device("cuda"))
