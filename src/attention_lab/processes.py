"""Running one stage in several processes: PyTorch's elastic launcher starts them, accelerate connects them."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from attention_lab.errors import InputError

STARTED_BY = "ATTENTION_LAB_STARTED_BY"  # tells the processes the launcher's process id


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold a lock on this work for this process and those that it launches; a process that comes later waits.

    Args:
        work: a path that names the work. The lock is a file beside it, which the system releases however the process
            ends.
    """
    if "RANK" in os.environ:  # the launcher of this process holds the lock
        yield
        return
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process is doing this very work; waiting for it to finish", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def launched(processes: int, module: str) -> bool:
    """Run `python -m module` with this command's arguments in several processes, if `processes` is above 1.

    Returns:
        True if the launched processes have done the work; False if this process must do it, alone or as one of them.

    Raises:
        InputError: a process failed; its output is above.
    """
    if "RANK" in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ.get(STARTED_BY, os.getppid())),), daemon=True).start()
        return False
    if processes == 1:
        return False
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    os.environ[STARTED_BY] = str(os.getpid())
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # its error report hides our message
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=module,
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *sys.argv[1:])
    except ChildFailedError:
        raise InputError(
            f"one of {processes} processes failed, see above; train.processes=1 trains in a single one"
        ) from None
    return True


def _end_with(launcher: int) -> None:
    """End this process when its launcher is gone. A killed launcher cannot end it, and it would go on writing to the
    files of a training that resumes."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)


def is_helper() -> bool:
    """Whether this is one of several processes, but not the first."""
    return os.environ.get("RANK", "0") != "0"
