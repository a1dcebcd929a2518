"""Is there room: on disk by the sizes of dvc.lock, in memory roughly, by the batches of params.yaml."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.doctoring import Finding, several, size
from stages.doctoring.lock import Output
from stages.doctoring.machine import Gpu, cores
from stages.doctoring.processes import WRITTEN
from stages.doctoring.wishes import Demand
from stages.download import DownloadSettings
from stages.files import DataError
from stages.settings import section

SPARE_BYTES = 10**9  # half-done trainings, the shards of a stage at work
SHARED = Path("/dev/shm")  # where loader processes hand over batches, on Linux
# Bytes that a network keeps for the way back, per byte of its pictures: a ResNet50 some 22 million numbers of a picture of
# 224 x 224, which has 150,528. Slimmed networks keep less, VGG and large detectors more.
KEPT = 150
PROCESS_BYTES = 10**9  # PyTorch itself
PUBLISHED_BYTES = {"caltech_camera_traps": 107 * 10**9}  # of downloads; the other authors do not say


def writing_findings(root: Path) -> list[Finding]:
    """Folders that a run writes and this user may not: those that another user, root above all, made."""
    closed = [
        str(root / name)
        for name in (".", ".dvc", *WRITTEN)
        if (root / name).is_dir()
        and not os.access(root / name, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)
    ]
    if not closed:
        return []
    remedy = f"`sudo chown -R $(id -un) {' '.join(closed)}`; and do not run `make` or `dvc` as root here"
    return [Finding("disk", f"not yours to write: {several(closed)}", remedy, stops=True)]


def _sources(params: dict[str, Any]) -> tuple[int, list[str]]:
    """Bytes that downloads take, three times: archive, unpacked, DVC's copy; and the data sets whose size is not known."""
    total, unknown = 0, []
    for name in params["datasets"]:
        try:
            settings = section(f"datasets.{name}.{params['profile']}.download", DownloadSettings, params)
        except DataError:
            continue
        if settings.source != "url" or Path("data/raw", name, "source.json").is_file():
            continue
        declared = sum(url.bytes or 0 for url in settings.urls)
        if count := declared or (0 if settings.urls else PUBLISHED_BYTES.get(settings.adapter, 0)):
            total += 3 * count
        else:
            unknown.append(name)
    return total, unknown


def disk_findings(root: Path, params: dict[str, Any], outputs: Sequence[Output], absent: Sequence[Output]) -> list[Finding]:
    """`absent` are the outputs that are still to be made. Their sizes are those of the run that wrote dvc.lock."""
    free, profile = shutil.disk_usage(root).free, params["profile"]
    here = [out.bytes for out in absent if out.profile in (profile, None)]
    elsewhere = sorted({out.profile for out in outputs if out.profile not in (profile, None)} - {None}, key=str)
    fetched, unknown = _sources(params)
    needed = 2 * sum(here) + max(here, default=0) + fetched
    parts = {
        f"{size(sum(here))} of outputs twice, here and in .dvc/cache, and the largest once more while it is written": here,
        f"{size(fetched)} for downloads, three times their size": fetched,
        f"unknown for {', '.join(unknown)}, whose authors state no size": unknown,
        f"unknown for outputs in the profile {profile}: dvc.lock is of {', '.join(map(str, elsewhere))}": elsewhere,
    }
    to_come = "; ".join(part for part, some in parts.items() if some) or "nothing"
    says = f"{size(free)} free at {root.resolve()}; still to come: {to_come}"
    remedy = f"make room, {size(needed + SPARE_BYTES)} in all (`dvc gc -w` removes older results), or clone to another disk"
    if free < needed:
        return [Finding("disk", says, remedy, stops=True)]
    return [Finding("disk", says, remedy if free < needed + SPARE_BYTES else "")]


def _heaviest(demands: Sequence[Demand], free_bytes: int, what: str) -> Finding | None:
    def takes(demand: Demand) -> int:
        return PROCESS_BYTES + KEPT * demand.batch_bytes

    most = max(demands, key=takes, default=None)
    if most is None or takes(most) <= free_bytes:
        return None
    says = f"{most.model} takes some {size(takes(most))} of {what}, roughly, and {size(free_bytes)} are free"
    return Finding(
        "memory", says, "close other programs, or lower its `batch_size`: with 1/n of it take 1/n of the learning rate"
    )


def memory_findings(demands: Sequence[Demand], free_bytes: int, gpus: Sequence[Gpu], shared: Path = SHARED) -> list[Finding]:
    """Roughly: the largest batch against the GPU or the memory, and what loader processes share."""
    found = []
    where = (gpus[0].free_bytes, "GPU memory") if gpus else (free_bytes, "memory")
    if heavy := _heaviest(demands, *where):
        found.append(heavy)
    by_machine = min(16, cores()) if gpus else 0  # as stages.loading.loader_workers has it
    loaders = {demand: by_machine if demand.workers is None else demand.workers for demand in demands}
    cached = max((demand.cache_bytes for demand in demands), default=0)
    if cached > free_bytes:
        says = f"decoded pictures may be kept in {size(cached)} of memory (`cache_gb`), and {size(free_bytes)} are free"
        found.append(
            Finding("memory", says, "close other programs, or lower `cache_gb`: pictures are then decoded anew in every epoch")
        )
    handed = max((2 * count * demand.batch_bytes for demand, count in loaders.items()), default=0)
    if handed and shared.is_dir() and (room := shutil.disk_usage(shared).free) < handed:
        says = f"loader processes hand over {size(handed)} by {shared}, which has {size(room)} free"
        found.append(Finding("memory", says, "in a container: `docker run --shm-size 8g`; or set `workers: 0`"))
    if found or not demands:
        return found
    most = max(demand.batch_bytes for demand in demands)
    return [
        Finding("memory", f"enough, roughly, for the largest batch, {size(most)} of pictures, and what a network keeps of it")
    ]
