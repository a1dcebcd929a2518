"""Pages in a browser: the system's Chromium without a network, what a page does wrong in it, and a whole site's faults."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
MODELS = 3  # pages of models for each study that axe looks at: all are made by one template
# Waits until the page has not scrolled for 6 frames.
STILL = """async () => {
  for (let still = 0, before = -1; still < 6; before = scrollY) {
    await new Promise(requestAnimationFrame);
    still = scrollY === before ? still + 1 : 0;
  }
}"""
# How far from the top of the window the place that a link names is, 0 where it is near or the page ends.
OFF = """link => {
  const top = Math.round(document.getElementById(decodeURIComponent(link.slice(1))).getBoundingClientRect().top);
  const atEnd = Math.ceil(scrollY + innerHeight) >= document.documentElement.scrollHeight;
  return Math.abs(top) <= 50 || (atEnd && top > 0) ? 0 : top;
}"""
MISSING = "no Chromium: `make browser` installs it where it can, or name one in the variable CHROMIUM"


def find_browser() -> str | None:
    """The system's Chromium or Chrome; none is downloaded."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started_browser() -> Iterator[Browser]:
    """A browser. Without one the test fails in CI, and is skipped with the reason on a user's machine."""
    program = find_browser()
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        yield browser
        browser.close()


@contextmanager
def visited(browser: Browser, path: Path, **settings: Any) -> Iterator[tuple[Page, list[str]]]:
    """The page of a file, and its faults so far: errors, alerts, files that are missing, and requests to anything but files.

    `settings` are those of a browser context. Foreign requests are blocked, and wait for nothing.
    """
    faults: list[str] = []
    with browser.new_context(**{"viewport": WIDE} | settings) as context:

        def refuse(route: Any) -> None:
            faults.append(f"request: {route.request.url}")
            route.abort()

        context.route(re.compile(r"^(?!file:|data:|about:)"), refuse)
        page = context.new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("requestfailed", lambda request: faults.append(f"not loaded: {request.url}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(path.resolve().as_uri())
        yield page, faults


def violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical: the rule, and the first elements that break it."""
    found = Axe().run(page).response["violations"]
    return [
        f"axe: {rule['id']}: {[node['html'][:150] for node in rule['nodes'][:3]]} ({len(rule['nodes'])})"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


def scrolls_sideways(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def broken_links(page: Page) -> list[str]:
    """Links, pictures and anchors that lead nowhere."""
    here = urlsplit(page.url).path
    links = page.eval_on_selector_all("a[href], img[src]", "all => all.map(one => one.href ?? one.src)")
    ids = {"", *page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")}
    faults = []
    for link in sorted(set(links)):
        parts = urlsplit(link)
        if parts.scheme == "file" and not Path(unquote(parts.path)).is_file():
            faults.append(f"leads nowhere: {link}")
        elif parts.scheme == "file" and parts.path == here and unquote(parts.fragment) not in ids:
            faults.append(f"no such place: #{parts.fragment}")
    return faults


def out_of_order(page: Page) -> list[str]:
    """Headings: one of the first level, and none that skips a level; ids: none twice."""
    levels = page.eval_on_selector_all("h1, h2, h3, h4, h5, h6", "all => all.map(one => Number(one.tagName[1]))")
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    faults = [] if levels[:1] == [1] and levels.count(1) == 1 else [f"headings: {levels[:5]} ..."]
    faults += [f"a heading of level {low} below {high}" for high, low in pairwise(levels) if low > high + 1]
    return faults + [f"id twice: {name}" for name in sorted(set(ids)) if ids.count(name) > 1]


def misses(page: Page) -> list[str]:
    """Entries of the contents list that do not lead to their section: the last first, while nothing above it has been seen."""
    faults = []
    for link in reversed(page.locator("nav.contents a:visible").all()):
        page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
        link.evaluate("link => link.click()")
        page.evaluate(STILL)
        if off := page.evaluate(OFF, link.get_attribute("href")):
            faults.append(f"misses by {off} px: {link.inner_text()}")
    return faults


def misbehaves(page: Page) -> list[str]:
    """Every table sorts, every gallery filters, and a picture opens large and closes again."""
    faults = []
    for table in page.locator("table.sortable:visible").all():
        button = table.locator("thead button").first
        if not table.locator("thead button").count():
            faults.append(f"does not sort: {table.locator('caption').inner_text()}")
            continue
        button.click()
        if button.locator("xpath=..").get_attribute("aria-sort") != "ascending":
            faults.append(f"does not say how it sorts: {table.locator('caption').inner_text()}")
    for gallery in page.locator(".gallery:visible").all():
        shown = gallery.locator("figure:visible")
        everything = shown.count()
        for select in gallery.locator("select").all():
            select.select_option(index=1)
            n = shown.count()
            if not 0 < n < everything or not gallery.locator(".count").inner_text().startswith(f"{n} of {everything} "):
                faults.append(f"does not filter: {gallery.get_attribute('aria-label')}")
            select.select_option(index=0)
    if page.locator("a.open:visible").count():
        link = page.locator("a.open:visible").first
        link.click()
        large = page.locator("dialog[open] .stage img")
        large.evaluate("image => image.decode()")
        page.keyboard.press("Escape")
        if page.locator("dialog[open]").count() or not link.evaluate("link => link === document.activeElement"):
            faults.append("the picture does not close, or the focus does not return")
    return faults


def check_page(browser: Browser, path: Path, thorough: bool = True) -> list[str]:
    """Faults of one page; `thorough` looks at it with axe too, light, dark and on a phone, and uses what it offers."""
    with visited(browser, path) as (page, faults):
        found = broken_links(page) + out_of_order(page)
        if thorough:
            found += violations(page)
            page.emulate_media(color_scheme="dark")
            found += [f"dark: {fault}" for fault in violations(page)]
            page.set_viewport_size(PHONE)
            page.emulate_media(color_scheme="light")
            found += [f"phone: {fault}" for fault in violations(page)]
            page.set_viewport_size(WIDE)
            found += misbehaves(page)
        if path.name == "index.html":
            page.reload()
            found += misses(page)
        page.set_viewport_size(PHONE)
        if scrolls_sideways(page):
            found.append("scrolls sideways on a phone")
        return sorted({*faults, *found})


def check_site(browser: Browser, folder: Path) -> dict[str, list[str]]:
    """{page below `folder`: its faults}, of every page that has some."""
    pages = sorted(folder.rglob("*.html"))
    assert pages, f"no page below {folder}"
    faults, seen = {}, {}
    for path in pages:
        of_models = path.parent.name == "models"
        seen[path.parent] = seen.get(path.parent, 0) + 1
        found = check_page(browser, path, thorough=not of_models or seen[path.parent] <= MODELS)
        if found:
            faults[path.relative_to(folder).as_posix()] = found
    return faults
