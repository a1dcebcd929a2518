"""A machine at its limits while it trains: what to tell of a lack of memory, and of a full disk."""

from pathlib import Path

import torch

from stages.files import FULL, DataError


def explained(error: BaseException, batch_size: int, work: Path) -> DataError | None:
    """The message for a training that ran out of memory, or of room for its state in `work`; None where the fault is another.

    What was half written into `work` goes; the state before stays. PyTorch has no class of its own for a CPU's memory.
    """
    of_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or of_cpu:
        memory = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        half = max(1, batch_size // 2)
        return DataError(f"out of {memory} at batch_size {batch_size}: try batch_size={half} ({error})")
    if isinstance(error, OSError) and error.errno in FULL:
        for path in work.glob("*.partial"):
            path.unlink()
        again = "Make room and run the same command again: it goes on behind the last epoch"
        return DataError(f"disk full while writing {error.filename or work}. {again}")
    return None
