"""A stage writes alone: beside no other process that writes the same output, and not on when the dvc that started it is dead.

`kill -9` of dvc leaves the process of its stage, with its workers, running. So a stage that DVC has started ends with it. And
whoever writes an output holds its lock, `.dvc/tmp/stages/<output>.lock`, until it ends, however it ends: the next run waits for
it, or names it and stops. A stage that was started by hand, under `nohup` or not, ends when its user says so.
"""

import argparse
import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
from filelock import FileLock, Timeout

from stages.files import DataError, is_alive

KEPT = Path(".dvc/tmp/stages")  # in the project's folder, where stages run; DVC keeps its own locks beside it
_STAGE, _ROOT, _HELD = "DVC_STAGE", "DVC_ROOT", "ETHOGRAM_WRITES"
_LOOK_S = 0.2  # how often it looks whether dvc is alive
_PATIENCE_S = 30.0  # how long what is ending may take


def by_dvc() -> bool:
    """Whether DVC started this process: it sets both, so one alone is the user's own."""
    return _STAGE in os.environ and _ROOT in os.environ


def end_with_dvc() -> None:
    """Where DVC started this process: end, with all workers, when dvc does. Raises DataError where it has surely ended already.

    Where no dvc is found above, as in a container or a cluster's job that the stage's command starts, it goes on without.
    """
    if not by_dvc():
        return
    first, above = _above(os.environ[_STAGE])
    if above is not None and _is_dvc(above):
        threading.Thread(target=_watch, args=(above,), name="dvc", daemon=True).start()
    elif above is not None and _is_orphan(first, above):
        raise DataError("the dvc that started this stage has ended, so nothing was begun. Run `dvc repro` again")
    else:
        print("note: this stage goes on should dvc be killed: no dvc is found among the processes above it", file=sys.stderr)


def _above(stage: str) -> tuple[psutil.Process, psutil.Process | None]:
    """The first process that runs for the stage, DVC's shell or this one, and its parent; None where it can be no one's."""
    first = psutil.Process()
    for parent in first.parents():
        try:
            of = parent.environ().get(_STAGE)
        except (psutil.Error, OSError):
            of = None  # another user's: not a shell of this stage
        if of != stage:
            return first, parent
        first = parent
    return first, None


def _is_dvc(process: psutil.Process) -> bool:
    """As `/usr/bin/dvc repro`, `python3 bin/dvc repro`, `python -m dvc repro`, `dvc.exe repro`."""
    try:
        return any(Path(word).stem == "dvc" for word in process.cmdline()[:4])
    except (psutil.Error, OSError):
        return False


def _is_orphan(process: psutil.Process, parent: psutil.Process) -> bool:
    """Whether `parent` has adopted the process: who does not lead its session was born into it, so a parent that is of another
    is not who started it. A process that `setsid` started leads its own: of that nobody knows."""
    try:
        session = os.getsid(process.pid)
        return session not in (process.pid, os.getsid(parent.pid))
    except (AttributeError, OSError):  # Windows; ended meanwhile, or of another PID namespace
        return False


def _watch(dvc: psutil.Process) -> None:
    while dvc.is_running() and is_alive(dvc.pid):  # the same process still, and no zombie
        time.sleep(_LOOK_S)
    for worker in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            worker.terminate()  # which multiprocessing's own tidier ignores, to tidy up behind them
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:  # a full pipe that nobody reads must not keep this alive
            os.write(2, b"stopped: dvc, which started this stage, has ended. Run `dvc repro` again: it goes on where it was\n")
    os._exit(1)


@contextlib.contextmanager
def only_writer(words: list[str]) -> Iterator[None]:
    """Hold the lock of the output that a command line names. Raises DataError where another process keeps it.

    Outside a DVC project, and for commands without `--out` or `--answers`, there is none. The processes that a stage starts
    with its own command line, one for each GPU, write under its lock.
    """
    out = _written(words)
    if out is None or not Path(".dvc").is_dir() or os.environ.get(_HELD) == out:
        yield
        return
    lock = FileLock(KEPT / f"{quote(out, safe='')[-200:]}.lock", on_acquired=_sign)
    with _held(lock, out):
        os.environ[_HELD] = out
        try:
            yield
        finally:
            del os.environ[_HELD]


def _written(words: list[str]) -> str | None:
    """The output by which two runs of one stage are known: `--out`, or `--answers` of evaluate, which has no other."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--out", "--answers"):
        parser.add_argument(option, nargs="?")
    known, _ = parser.parse_known_args(words)
    out = known.out or known.answers
    return os.path.relpath(out) if out else None


@contextlib.contextmanager
def _held(lock: FileLock, out: str) -> Iterator[None]:
    try:
        KEPT.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        print(
            f"{out} is being written by {_holder(lock)}: waiting {_PATIENCE_S:.0f} s for it to end", file=sys.stderr, flush=True
        )
        try:
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout:
            raise DataError(
                f"{out} is being written by {_holder(lock)}. Wait until that has ended, or end it, then run the same again"
            ) from None
    except OSError as error:  # a project that is another's to write, or a filesystem without locks
        print(f"note: {out} is written without a lock: {KEPT}: {error.strerror or error}", file=sys.stderr)
    try:
        yield
    finally:
        lock.release()


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def _holder(lock: FileLock) -> str:
    try:
        process = psutil.Process(int(Path(lock.lock_file).read_text()))
        return f"process {process.pid} ({' '.join(process.cmdline())[:120]})"
    except (OSError, ValueError, psutil.Error):
        return "another process"
