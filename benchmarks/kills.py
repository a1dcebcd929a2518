"""Kill the smoke run twenty times, start it again each time, and compare what it ends with against a run that nobody killed.

    python -m benchmarks.kills --kills 20 --seed 0 --folder SCRATCH [--target STAGE] [--page docs/kills.md]

Two clones of HEAD lie in SCRATCH, each with a cache of its own. The first runs to its end, and its times are noted. Of the
second run's kills each has a moment drawn from its own slice of those times, so that they are spread over the whole run: a
stage, and how far into it. By turns the whole process group is killed, or dvc alone, whose stage is then nobody's; and at once
the same command is started again, as `make` does: `python -m stages.dvc_lock`, then `dvc repro`. SCRATCH/kills.json holds what
was done.

Exit code 1 where a run fails that was not killed, an orphan lives, or anything differs but times and costs.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from stages.files import MANIFEST, is_alive, read_json, write_json, write_text

ROOT = Path(__file__).parent.parent
WAYS = ("whole group", "dvc alone")
TIMED = ("train_seconds", "ms_an_image")  # what a run takes: never the same twice
RUNNING = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)


@dataclass
class Kill:
    """One kill: where it was to come, where it came, and what became of the processes that it left."""

    way: str
    planned: str
    offset_s: float
    stage: str = ""
    after_s: float = 0.0
    doing: str = ""
    orphans: list[str] = field(default_factory=list)
    gone_after_s: float = 0.0
    mended: str = ""


class Run:
    """`dvc repro` in a clone: a process group of its own, what it prints in a file, and when it began which stage."""

    def __init__(self, clone: Path, target: list[str], log: Path) -> None:
        self.log, self.began, self.starts = log, time.monotonic(), list[tuple[str, float]]()
        with log.open("w") as file:
            self.process = subprocess.Popen(
                ["dvc", "repro", *target], cwd=clone, env=environment(clone), stdout=file, stderr=file, start_new_session=True
            )

    def look(self) -> list[tuple[str, float]]:
        """(stage, second since the start) of every stage that it began."""
        names = RUNNING.findall(self.log.read_text(errors="replace"))
        self.starts += [(name, time.monotonic() - self.began) for name in names[len(self.starts) :]]
        return self.starts

    def wait(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Whether `until` became true before it ended. Raises where it ended badly: nobody killed it."""
        try:
            while self.process.poll() is None:
                self.look()
                if until():
                    return True
                time.sleep(0.02)
        except BaseException:  # Ctrl-C is not heard by a group of its own
            self.kill(WAYS[0])
            raise
        self.look()
        if self.process.returncode:
            raise SystemExit(f"a run that was not killed ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        return False

    def kill(self, way: str) -> list[psutil.Process]:
        """Kill it. Returns the processes that this left alive, or not yet dead."""
        others = psutil.Process(self.process.pid).children(recursive=True)
        if way == "dvc alone":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return others


def environment(clone: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(clone)}


def cloned(folder: Path) -> Path:
    """HEAD, set to the smoke profile, in a repository of its own."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: give another --folder, or remove it")
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    params = folder / "params.yaml"
    text, changed = re.subn(r"^profile: \w+$", "profile: smoke", params.read_text(), flags=re.MULTILINE)
    assert changed == 1, f"{params}: no line `profile: ...`"
    params.write_text(text)
    return folder


def moments(starts: list[tuple[str, float]], seconds: float, kills: int, seed: int) -> list[tuple[str, float]]:
    """(stage, seconds into it), one drawn from each of `kills` slices of the run from its first stage to its end.

    In the last stage within its first half: a run that is a little quicker has ended by then.
    """
    draw, first, (last, last_began) = random.Random(seed), starts[0][1], starts[-1]
    found = []
    for number in range(kills):
        at = first + (seconds - first) * (number + draw.random()) / kills
        stage, began = [start for start in starts if start[1] <= at][-1]
        found.append((stage, min(at - began, (seconds - last_began) / 2) if stage == last else at - began))
    return found


def reached(run: Run, order: list[str], stage: str, offset: float) -> bool:
    """Whether the run is `offset` seconds into this stage, or into the first after it where this one is done already."""
    begun = next((at for name, at in run.starts if name in order and order.index(name) >= order.index(stage)), None)
    return begun is not None and time.monotonic() - run.began >= begun + offset


def killed_run(clone: Path, target: list[str], order: list[str], plan: list[tuple[str, float]], log: Path) -> list[Kill]:
    """Run, kill and start again as planned, to the end. Returns the kills: fewer than planned where it ended before one."""
    kills: list[Kill] = []
    run = Run(clone, target, log)
    for number, (stage, offset) in enumerate(plan):
        kill = Kill(WAYS[number % 2], stage, round(offset, 2))
        due = lambda run=run, stage=stage, offset=offset: reached(run, order, stage, offset)  # noqa: E731
        if not run.wait(due):
            print(f"kill {number + 1} at {stage}: the run had ended before it. {number} kills were done")
            return kills
        kill.stage, begun = run.starts[-1]
        kill.after_s = round(time.monotonic() - run.began - begun, 2)
        watched, at = run.kill(kill.way), time.monotonic()
        kill.doing = "the stage" if watched else "dvc's own"
        kill.orphans = [" ".join(command)[:100] for command in map(command_of, watched) if command]
        lock = [sys.executable, "-m", "stages.dvc_lock"]
        done = subprocess.run(lock, cwd=clone, env=environment(clone), capture_output=True, text=True, check=True)
        kill.mended = done.stdout.strip()
        run = Run(clone, target, log.with_stem(f"{log.stem}-{number + 1}"))
        while any(process.is_running() and is_alive(process.pid) for process in watched):
            if time.monotonic() - at > 60:
                run.kill(WAYS[0])
                raise SystemExit(f"orphans of kill {number + 1} live on: {kill.orphans}")
            time.sleep(0.02)
        kill.gone_after_s = round(time.monotonic() - at, 2)
        kills.append(kill)
        print(
            f"{number + 1:2} {kill.way:11} {kill.after_s:6.2f} s into {kill.stage}; {kill.mended or 'lock whole'}", flush=True
        )
    run.wait()
    return kills


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; none where it is dead."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def plain(path: Path) -> Any:
    """What a metrics file holds, without its times."""
    if path.suffix == ".json":
        return untimed(read_json(path))
    if path.suffix == ".csv":
        return pd.read_csv(path).drop(columns=[*TIMED], errors="ignore").to_csv(index=False)
    return path.read_bytes()


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in TIMED}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def state(folder: Path) -> dict[str, dict[str, Any]]:
    """{kind: {file: what it holds}}: metrics without their times, and the hash of every file of an output."""
    said = {path.relative_to(folder).as_posix(): plain(path) for path in sorted(folder.glob("metrics/**/*.*"))}
    listed: dict[str, Any] = {}
    for manifest in sorted([*folder.glob("data/**/" + MANIFEST), *folder.glob("models/*/" + MANIFEST)]):
        place = manifest.parent.relative_to(folder).as_posix()
        listed |= {f"{place}/{name}": entry["sha256"] for name, entry in read_json(manifest).items()}
    return {"metrics files": said, "files of outputs": listed}


def differences(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> list[str]:
    """Every file that differs, or is on one side alone."""
    both = [(one[kind], other[kind]) for kind in one]
    return [name for left, right in both for name in sorted({*left, *right}) if left.get(name) != right.get(name)]


def page(result: dict[str, Any]) -> str:
    """What was done, as a table."""
    kills, whole = result["kills"], sum(kill["way"] == WAYS[0] for kill in result["kills"])
    compared = ", ".join(f"{count:,} {kind}" for kind, count in result["compared"].items())
    what = f"Of the smoke run {' '.join(result['target'])}" if result["target"] else "The smoke run"
    said = "Equal." if not result["differ"] else f"Different: {', '.join(result['differ'])}."
    lines = [
        "# Kills",
        "",
        "Made by `python -m benchmarks.kills`; do not edit.",
        "",
        f"{what} at {result['commit']}, seed {result['seed']}: {len(kills)} kills with signal 9,",
        f"{whole} of the whole process group and {len(kills) - whole} of dvc alone.",
        f"Unbroken {result['unbroken_s']:.0f} s, {len(result['stages'])} stages; with the kills {result['killed_s']:.0f} s.",
        f"Compared with the unbroken run: {compared}, all but {' and '.join(TIMED)}. **{said}**",
        "",
        "*Doing*: whether the stage itself was at work, or dvc, which takes in what a stage wrote, and writes `dvc.lock`.",
        "*Left over*: processes of the killed run that were not dead at once, and when they all were.",
        "*Lock*: whether `dvc.lock` was cut off, and was put back.",
        "",
        "| | killed | in | seconds into it | doing | left over | gone after | lock |",
        "|---:|---|---|---:|---|---:|---:|---|",
    ]
    lines += [
        f"| {number} | {kill['way']} | {kill['stage']} | {kill['after_s']:.1f} | {kill['doing']} | {len(kill['orphans'])} | "
        f"{kill['gone_after_s']:.1f} s | {'put back' if kill['mended'] else 'whole'} |"
        for number, kill in enumerate(kills, 1)
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="kill a run at random moments, and compare its end with an unbroken run's")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="an empty or new folder for the clones and kills.json")
    parser.add_argument("--target", nargs="*", default=[], help="stages to run in place of all")
    parser.add_argument("--page", type=Path, help="Markdown to write, as docs/kills.md")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unbroken, killed = cloned(folder / "unbroken"), cloned(folder / "killed")
    run = Run(unbroken, args.target, folder / "unbroken.log")
    run.wait()
    seconds, starts = time.monotonic() - run.began, run.starts
    print(f"unbroken: {seconds:.0f} s, {len(starts)} stages", flush=True)
    order = [name for name, _ in starts]
    began = time.monotonic()
    kills = killed_run(killed, args.target, order, moments(starts, seconds, args.kills, args.seed), folder / "killed.log")
    killed_s = time.monotonic() - began
    found = state(unbroken)
    compared, differ = {kind: len(files) for kind, files in found.items()}, differences(found, state(killed))
    head = subprocess.run(["git", "describe", "--always"], cwd=unbroken, capture_output=True, text=True, check=True)
    result = {
        "commit": head.stdout.strip(), "seed": args.seed, "target": args.target, "unbroken_s": round(seconds, 1),
        "killed_s": round(killed_s, 1), "compared": compared, "differ": differ, "stages": starts,
        "kills": [asdict(kill) for kill in kills],
    }  # fmt: skip
    write_json(folder / "kills.json", result)
    if args.page:
        write_text(args.page, page(result))
    print(f"{len(kills)} of {args.kills} kills, {killed_s:.0f} s. Compared: {compared}. Different: {differ or 'nothing'}")
    sys.exit(bool(differ) or len(kills) < args.kills)


if __name__ == "__main__":
    main()
