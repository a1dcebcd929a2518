"""Cores, memory, GPU, and whether PyTorch could use it: by its own file of versions, so that nothing imports it."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from stages.doctoring import Finding, size

CGROUP = Path("/sys/fs/cgroup")  # of the container that this runs in, if it does


@dataclass(frozen=True)
class Gpu:
    name: str
    total_bytes: int
    free_bytes: int


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes(cgroup: Path = CGROUP) -> int:
    """What is free of the machine's memory, or of what its container may take."""
    free = psutil.virtual_memory().available
    try:
        most, used = (int((cgroup / f"memory.{what}").read_text()) for what in ("max", "current"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return max(0, min(free, most - used))


def gpus() -> list[Gpu]:
    """NVIDIA's, as their driver says; none where it says nothing."""
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    words = [program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.rsplit(",", 2) for line in done.stdout.splitlines() if done.returncode == 0]
    return [Gpu(name.strip(), int(total) << 20, int(free) << 20) for name, total, free in rows]


def torch_version() -> tuple[str, str | None] | None:
    """PyTorch's version and the CUDA or ROCm that it was built for (None: for CPUs alone); None where it is not installed."""
    try:
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            return None
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except (ImportError, OSError):  # half of it is there, which environment.py or its import says
        return None
    values = dict(re.findall(r"^(__version__|cuda|hip)\b[^=\n]*= *'([^'\n]+)'", text, re.MULTILINE))
    return values.get("__version__", "?"), values.get("cuda") or values.get("hip")


def _sees_gpu() -> bool:
    words = [sys.executable, "-c", "import torch; print(torch.cuda.is_available())"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() == "True"


def findings() -> list[Finding]:
    memory = f"{size(psutil.virtual_memory().total)} of memory, {size(memory_bytes())} of it free"
    found = [Finding("machine", f"{platform.system()} {platform.machine()}, {cores()} cores, {memory}")]
    there, torch = gpus(), torch_version()
    if not there:
        found.append(Finding("GPU", "none: trains on the CPU. The profile `paper` wants one"))
    elif torch is None:
        pass  # a missing package, which environment.py names
    elif torch[1] is None:
        found.append(
            Finding(
                "GPU",
                f"{there[0].name} is there, and PyTorch {torch[0]} is built for CPUs alone: training would not use it",
                "install the pinned one: `rm .venv/installed && make setup`",
            )
        )
    elif not _sees_gpu():
        found.append(
            Finding(
                "GPU",
                f"{there[0].name} is there, and PyTorch {torch[0]} (CUDA {torch[1]}) does not see it",
                "mostly a driver older than that CUDA, or CUDA_VISIBLE_DEVICES: compare with the first lines of `nvidia-smi`",
            )
        )
    else:
        names = ", ".join(f"{gpu.name}, {size(gpu.free_bytes)} of {size(gpu.total_bytes)} free" for gpu in there)
        found.append(Finding("GPU", f"{names}; PyTorch {torch[0]} sees it"))
    return found
