"""Python, the packages of requirements.txt by their versions, and the programs that a run calls."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from stages.doctoring import Finding, several

try:
    from packaging.requirements import InvalidRequirement, Requirement
except ImportError:  # the doctor has to say what is missing, whatever is missing
    NO_PACKAGES = True
else:
    NO_PACKAGES = False

REQUIREMENTS = Path("requirements.txt")
LEAST_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SETUP = "`rm -f .venv/installed && make setup`"
_ACTIVATE = "`. .venv/bin/activate` (Windows: `.venv\\Scripts\\activate`), or use `make`"
_ANSWERS_S = 20  # how long a program may take to say where it is from


def pinned(text: str) -> "list[Requirement]":
    """The requirements of a locked file that hold on this machine. ValueError with the line for one that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition(" #")[0].rstrip("\\ ")
        if not words or line[0] in "# \t-":  # blank, a comment, a hash, an option
            continue
        try:
            requirement = Requirement(words)
        except InvalidRequirement as error:
            raise ValueError(f"line {number}: {error}") from None
        if requirement.marker is None or requirement.marker.evaluate():
            found.append(requirement)
    return found


def unusable(error: ImportError) -> Finding:
    """A package that is not there, or is there and does not work."""
    return Finding("packages", f"{sys.executable} cannot import what a run needs: {error}", _SETUP, stops=True)


def _packages() -> list[Finding]:
    if NO_PACKAGES:
        says = f"{sys.executable} has not the packages of {REQUIREMENTS}: `packaging` is missing"
        return [Finding("packages", says, f"{_SETUP}, then {_ACTIVATE}", stops=True)]
    try:
        wanted = pinned(REQUIREMENTS.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [Finding("packages", f"{REQUIREMENTS}: cannot be read: {error}", f"`git checkout {REQUIREMENTS}`")]
    installed = {
        re.sub(r"[-_.]+", "-", about.name).lower(): about.version for about in importlib.metadata.distributions() if about.name
    }
    missing, other = [], []
    for requirement in wanted:
        version = installed.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        if version is None:
            missing.append(requirement.name)
        elif not requirement.specifier.contains(version, prereleases=True):
            other.append(f"{requirement.name} {version} (pinned{requirement.specifier})")
    found = []
    if missing:
        says = f"{len(missing)} of {len(wanted)} pinned packages are not installed: {several(missing, 8)}"
        found.append(Finding("packages", says, _SETUP, stops=True))
    if other:
        says = f"{len(other)} of {len(wanted)} packages have another version than {REQUIREMENTS}: {several(other, 8)}"
        found.append(Finding("packages", f"{says}. Figures may differ", _SETUP))
    return found or [Finding("packages", f"all {len(wanted)} of {REQUIREMENTS} are installed in their pinned versions")]


def _prefix(python: str) -> Path | None:
    """The environment of a Python, as it says itself: a shim of pyenv or asdf lies in a folder of its own."""
    try:
        done = subprocess.run(
            [python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True, timeout=_ANSWERS_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(done.stdout.strip()).resolve()


def _programs() -> list[Finding]:
    """dvc.yaml calls `python`, and the user `dvc`: both have to be this environment's."""
    here = Path(sys.executable).parent
    python, dvc = shutil.which("python"), shutil.which("dvc")
    found = []
    if python is None:
        found.append("`python` is not found")
    elif (prefix := _prefix(python)) != Path(sys.prefix).resolve():
        of = f"of another environment than {sys.prefix}" if prefix else "and does not answer"
        found.append(f"`python` is {python}, {of}")
    ours = {here.resolve()} | ({Path(python).parent.resolve()} if python and not found else set())  # a shim of dvc beside it
    if dvc is None:
        found.append("`dvc` is not found")
    elif Path(dvc).parent.resolve() not in ours:
        found.append(f"`dvc` is {dvc}, of another environment than {here}")
    return [Finding("environment", says, _ACTIVATE, stops=True) for says in found]


def findings() -> list[Finding]:
    version = platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        says = f"Python {version} at {sys.executable}"
        return [Finding("environment", says, "install 3.11 or newer, then `make PYTHON=/path/to/it`", stops=True)]
    found = _programs()
    if shutil.which("git") is None:
        found.append(Finding("environment", "git is not found", "Debian: `apt install git`", stops=True))
    if not found:
        found.append(Finding("environment", f"Python {version} at {sys.prefix}, its own dvc, git"))
    found += _packages()
    if not any(map(shutil.which, (os.environ.get("CHROMIUM") or BROWSERS[0], *BROWSERS))):
        remedy = "optional: Debian: `apt install chromium`; elsewhere: `make CHROMIUM=/path/to/chrome`"
        found.append(Finding("browser", "no Chromium: tests of the pages are skipped", remedy))
    return found
