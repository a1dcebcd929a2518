"""A copy of `dvc.lock`, since DVC does not write it whole or not at all: `python -m stages.dvc_lock` puts it back.

After each stage DVC empties the file and writes it anew, for as long as seconds; killed in that time it forgets which stages
have run, or cannot read the file at all. So every stage that DVC starts copies it first. A cut-off file is known by what the
copy holds beside it; any other is left alone. At most the stage that was just ending runs once more.
"""

import re
from pathlib import Path

from stages.alone import KEPT
from stages.files import new_file

LOCKS = (Path("dvc.lock"), Path("look/dvc.lock"))


def keep(locks: tuple[Path, ...] = LOCKS) -> None:
    """Copy each lock, unless it is cut off: the copy that can mend it stays."""
    for lock in locks:
        if not lock.is_file() or is_cut_off(lock):
            continue
        with new_file(copy_of(lock)) as temporary:
            temporary.write_bytes(lock.read_bytes())


def mend(locks: tuple[Path, ...] = LOCKS) -> list[Path]:
    """Put the copy of each lock that is cut off back. Returns those that were."""
    mended = []
    for lock in locks:
        if lock.is_file() and copy_of(lock).is_file() and is_cut_off(lock):
            with new_file(lock) as temporary:
                temporary.write_bytes(copy_of(lock).read_bytes())
            mended.append(lock)
    return mended


def is_cut_off(lock: Path) -> bool:
    """Whether a killed dvc left a part of what was to follow the copy: its first stages, all but one as they were."""
    text = lock.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        return True
    if not copy_of(lock).is_file():
        return False
    now, before = (_stages(part) for part in (text, copy_of(lock).read_text(encoding="utf-8")))
    others = sum(entry != before.get(name) for name, entry in now.items())
    return (
        len(now) < len(before) and list(now) == list(before)[: len(now)] and others <= 2
    )  # what just ended, and the last, cut


def copy_of(lock: Path) -> Path:
    """Where the copy of a lock is kept."""
    return KEPT / "-".join(lock.parts)


def _stages(text: str) -> dict[str, str]:
    """{stage: its entry} of a lock's text, which need not be whole."""
    parts = re.split(r"^  (\S.*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def main() -> None:
    for lock in mend():
        print(f"{lock} was cut off by a kill of dvc, and is again as it was before the stage that was just ending")


if __name__ == "__main__":
    main()
