"""Several processes for one stage: PyTorch's elastic launcher starts them, accelerate connects them."""

from __future__ import annotations

import logging
import os
import sys

import torch

from attention_lab.errors import InputError


def launched(processes: int, module: str) -> bool:
    """Run `python -m module` with this command's arguments in several processes, if several are asked for.

    Returns:
        False if there is one process to do the work, and it is this one.

    Raises:
        InputError: a process failed; what it said stands above.
    """
    if processes == 1 or "RANK" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # its report is a page of dots
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


def is_helper() -> bool:
    """Is this one of several processes, and not the first?"""
    return os.environ.get("RANK", "0") != "0"
