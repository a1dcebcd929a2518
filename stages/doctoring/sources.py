"""Each data set's source in the profile at hand: is it there, who hands it out, under which licence."""

import contextlib
import io
from pathlib import Path
from typing import Any

from stages.doctoring import Finding, size
from stages.download import DownloadSettings, look
from stages.files import DataError
from stages.settings import section

RAW = Path("data/raw")


def findings(params: dict[str, Any]) -> list[Finding]:
    found, drawn = [], []
    for name in params["datasets"]:
        try:
            settings = section(f"datasets.{name}.{params['profile']}.download", DownloadSettings, params)
        except DataError:
            continue  # the check of params.yaml says it, with the rest of that file
        if settings.source == "embedded" and settings.labels is None:
            drawn.append(name)
            continue
        try:
            with contextlib.redirect_stdout(io.StringIO()) as noticed:
                about = look(settings, RAW / name)
            found.append(_source(name, settings, about, noticed.getvalue().strip()))
        except DataError as error:
            remedy = f"mend it, or change `download` of datasets.{name}.{params['profile']} in params.yaml"
            found.append(Finding("data", f"{name}: {error}", remedy, stops=True))
    if drawn:
        found.append(Finding("data", f"{', '.join(drawn)}: drawn by the program itself, nothing to fetch"))
    return found


def _source(name: str, settings: DownloadSettings, about: dict[str, Any], noticed: str) -> Finding:
    from stages.datasets import adapter  # it imports pandas

    known = adapter(settings.adapter)
    if settings.source.startswith("path:"):
        says = f"{name}: {about['root']}, {about['files']:,} files, {size(about['bytes'])}, read in place"
        return Finding("data", f"{says}. {noticed}".strip(". "))
    if settings.source == "url" and (RAW / name / "source.json").is_file():
        return Finding("data", f"{name}: fetched, in {RAW / name}. Licence: {known.LICENCE}")
    own = hasattr(known, "fetch")
    if settings.source == "url" and not settings.urls and (own or not known.URLS):
        who = "handed out to users with an account alone" if own else "no public address is known: its authors hand it out"
        remedy = f"get it ({known.CITATION}; licence: {known.LICENCE}), then `source: path:<folder>`, or give `urls`"
        return Finding("data", f"{name}: {who}", remedy, stops=True)
    if settings.source == "url":
        where = ", ".join(url.url for url in settings.urls) or ", ".join(known.URLS)
        return Finding("data", f"{name}: to be fetched from {where}. Licence: {known.LICENCE}")
    return Finding("data", f"{name}: embedded, with hand labels of {settings.labels}")
