"""Pages in a real browser: they ask the network for nothing, sort, filter, open pictures, and can be read by everybody."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from stages.pages.page import environment as pages_environment
from tests.browser_helpers import (
    PHONE,
    WIDE,
    check_page,
    check_site,
    misses,
    scrolls_sideways,
    started_browser,
    violations,
    visited,
)

HOSTILE = "<script>alert(1)</script> \"'$&amp;"
TEMPLATE = """{% extends "base.html" %}
{% from "macros.html" import table, chart, gallery, model_link, intro, pictures, films, costs, confusions, removed, parts, tag %}
{% block content %}
<h1>{{ study.dataset }}</h1>
{{ intro(study, "pictures", "animals") }}
<section id="models"><h2>Models {{ hostile }}</h2>
{% call table(study, "Figures of " ~ hostile) %}
<thead><tr><th rowspan="2" scope="col">model<th colspan="2" scope="colgroup">test<th rowspan="2" scope="col">size<th rowspan="2" scope="col">time</tr>
<tr><th scope="col">macro F1<th scope="col">note</tr></thead>
<tbody>{% for name, f1, note, size, time in rows %}
<tr><th scope="row">{{ model_link(up, name) }}</th><td>{{ f1 }}<td>{{ note }}<td data-value="{{ size }}">{{ size // 1000 }} k<td>{{ time }}</tr>{% endfor %}</tbody>
{% endcall %}
{{ costs(models, tag(study) ~ "Measured;", up=up) }}
{{ chart(up, "chart.svg", "A chart of " ~ hostile) }}</section>
<section id="confusions"><h2>Confusion</h2>{{ confusions(confusion, tag(study) ~ hostile, "class") }}
{{ removed({"rejected_because": {hostile: {"no_box": 3}}}, tag(study) ~ "Why") }}
{{ parts({hostile: {"pictures": {"train": 3, "val": 1}, "classes": {"train": {}, "val": {hostile: 1}}, "warnings": [hostile]}}, [hostile], tag(study), "by part") }}</section>
<h2>Pictures</h2>{{ pictures(shots) }}{{ films(shots) }}
{{ gallery(items, "Mistakes of " ~ hostile, up) }}
{% endblock %}
"""


HEAD = '{% extends "base.html" %}{% from "macros.html" import framed, chart, gallery, pictures, films %}'
TALL = f"""{HEAD}{{% block content %}}<h1>Tall</h1>
<section id="one"><h2>One</h2>{{% for _ in range(12) %}}<p>{{{{ chart("", "chart.svg", "a chart") }}}}</p>
<div style="height: 900px"></div>{{% endfor %}}</section>
<section id="two"><h2>Two</h2>{{{{ gallery(items, "gallery", "") }}}}</section>
<section id="three"><h2>Three</h2>{{% for item in items %}}{{{{ pictures([item], wide=true) }}}}{{{{ films([item]) }}}}{{% endfor %}}
</section><section id="four"><h2>Four</h2><div style="height: 1500px"></div></section>{{% endblock %}}"""
LONG = f"""{HEAD}{{% block content %}}<h1>{{{{ name }}}}</h1><h2>{{{{ name }}}}</h2><p class="lead">Worst at {{{{ name }}}}.</p>
{{{{ gallery(items, "gallery", "") }}}}<h2>Table</h2>
{{% call framed(name) %}}<thead><tr><th scope="col">class<th scope="col">{{{{ name }}}}</tr></thead>
<tbody><tr><th scope="row">{{{{ name }}}}</th><td>1</tr></tbody>{{% endcall %}}{{% endblock %}}"""
WIDEST = f"""{HEAD}{{% block content %}}<h1>Wide</h1>
{{% call framed("Wide") %}}<thead><tr><th scope="col">model{{% for column in columns %}}<th scope="col">{{{{ column }}}}{{% endfor %}}</tr></thead>
<tbody><tr><th scope="row">camera_trap-efficientdet-location</th>{{% for column in columns %}}<td>0.123 <small>0.100 to 0.150</small>
{{% endfor %}}</tr></tbody>{{% endcall %}}{{% endblock %}}"""


def environment(template: str) -> jinja2.Environment:
    """That of the pages, with a template of the name tiny.html."""
    return pages_environment(jinja2.DictLoader({"tiny.html": template}))


def shot(at: int, label: str, outcome: str, location: str, boxes: bool) -> dict[str, Any]:
    box = {"left": 0.1, "top": 0.2, "width": 0.5, "height": 0.5}
    found = [box | {"left": 0.3, "text": text, "kind": "found"} for text in ("fox 0.93", "deer 0.20")]
    drawn = [box | {"text": label, "kind": "true"}, *found]
    return {
        "file": f"{at}.jpg", "width": 160, "height": 120, "text": f"picture {at} of {label}", "label": label,
        "outcome": outcome, "location": location, "id": f"id-{at}", "boxes": drawn if boxes else [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of hostile names, its pages around, and pictures; returns the folder of all studies."""
    folder = tmp_path_factory.mktemp("reports")
    study = folder / "d"
    for name in ("pictures", "models"):
        (study / name).mkdir(parents=True)
    for at in range(5):
        Image.new("RGB", (160, 120), (40 * at, 90, 90)).save(study / f"pictures/{at}.jpg")
    (study / "chart.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60"><circle r="40"/></svg>')
    cost = {
        "parameters": 1200,
        "layers": 2,
        "megabytes": 3.1,
        "epochs": 2,
        "train_seconds": 1,
        "ms_an_image": 2,
        "device": "a CPU",
    }
    names = ["ten", f"nine {HOSTILE.replace('/', '')}", "none", "minus"]
    shown = {
        "study": SimpleNamespace(
            dataset=HOSTILE, label="your data", source={"data": "your data"}, left_out=[HOSTILE], models={}, missing=[HOSTILE]
        ),
        "models": {name: {"cost": cost} for name in names},
        "hostile": HOSTILE,
        "rows": [
            (names[0], "0.500 0.40 to 0.60", "10 small", 10_000, "12:19"),
            (names[1], "0.750", "9 big", 9_000, "0:54"),
            (names[2], "–", "Zebra", 300_000, "–"),
            (names[3], "-0.100", "ant", 1_000, "5:33"),
        ],
        "confusion": [{"label": HOSTILE, "n": 4, "cells": [{"n": n, "share": n / 4} for n in (4, 0)]},
                      {"label": "deer", "n": 4, "cells": [{"n": n, "share": n / 4} for n in (1, 3)]}],
        "shots": [{"file": f"{at}.jpg", "text": f"{at} {HOSTILE}"} for at in range(2)],
        "items": [
            shot(0, HOSTILE, "wrong", "north", True),
            shot(1, "deer", "wrong", "north", True),
            shot(2, "deer", "right", "south", False),
            shot(3, "deer", "wrong", "south", True),
            shot(4, "fox", "missed", "", True),
        ],
    }  # fmt: skip
    (study / "index.html").write_text(environment(TEMPLATE).get_template("tiny.html").render(**shown), encoding="utf-8")
    plain = environment(TEMPLATE).from_string('{% extends "base.html" %}{% block content %}<h1>One</h1>{% endblock %}')
    (folder / "index.html").write_text(plain.render())
    (study / "data.html").write_text(plain.render(study=shown["study"]))
    for name in names:
        (study / "models" / f"{name}.html").write_text(plain.render(study=shown["study"], up="../"))
    return folder


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    with visited(browser, site / "d/index.html") as (opened, faults):
        yield opened
        assert faults == []


def column(page: Page, at: int) -> list[str]:
    """A column of the first table, from top to bottom."""
    return page.locator("table").first.locator(f"tbody tr > :nth-child({at})").all_inner_texts()


def test_hostile_names_are_text_and_nothing_else(page: Page) -> None:
    assert page.locator("h1").inner_text() == HOSTILE
    assert HOSTILE in page.locator("caption").first.inner_text()
    assert HOSTILE in (page.locator(".scroll").first.get_attribute("aria-label") or "")
    assert page.locator("script").count() == 1


def test_tables_sort_by_number_value_and_text_what_is_missing_last(page: Page) -> None:
    names = [name.split()[0] for name in column(page, 1)]
    assert names == ["ten", "nine", "none", "minus"]

    def sort(header: str) -> list[str]:
        page.get_by_role("button", name=header, exact=True).click()
        return [name.split()[0] for name in column(page, 1)]

    assert sort("macro F1") == ["minus", "ten", "nine", "none"]
    assert page.locator("[aria-sort]").all_inner_texts() == ["macro F1"]
    assert page.locator("[aria-sort=ascending]").count() == 1
    assert sort("macro F1") == ["nine", "ten", "minus", "none"], "missing stays last"
    assert page.locator("[aria-sort=descending]").count() == 1
    assert sort("size") == ["minus", "nine", "ten", "none"], "by value, not by its text"
    assert sort("note") == ["nine", "ten", "minus", "none"], "numbers before words"
    assert sort("time") == ["nine", "minus", "ten", "none"]
    assert page.locator("[aria-sort]").count() == 1
    assert page.locator("table").first.locator("thead button").count() == 5, "the header over two columns sorts nothing"
    page.get_by_role("button", name="size", exact=True).focus()
    page.keyboard.press("Enter")
    assert [name.split()[0] for name in column(page, 1)] == ["minus", "nine", "ten", "none"]


def test_galleries_filter_and_say_how_many_are_left(page: Page) -> None:
    gallery = page.locator(".gallery")
    count, shown = gallery.locator(".count"), gallery.locator("figure:visible")
    assert count.inner_text() == "5 of 5 shown" and count.get_attribute("aria-live") == "polite"
    gallery.get_by_label("class").select_option(HOSTILE)
    assert count.inner_text() == "1 of 5 shown" and shown.count() == 1
    gallery.get_by_label("class").select_option("deer")
    gallery.get_by_label("outcome").select_option("wrong")
    assert count.inner_text() == "2 of 5 shown" and shown.count() == 2
    gallery.get_by_label("location").select_option("south")
    assert count.inner_text() == "1 of 5 shown"
    assert "picture 3" in shown.inner_text()


def test_a_picture_opens_with_its_boxes_and_arrow_keys_stay_in_what_is_filtered(page: Page) -> None:
    page.locator(".gallery").get_by_label("outcome").select_option("wrong")
    links = page.locator(".gallery a.open:visible")
    links.nth(1).focus()
    page.keyboard.press("Enter")
    dialog, large = page.locator("dialog"), page.locator("dialog .stage img")
    said_of_it = dialog.locator(".said").inner_text()
    assert dialog.is_visible() and "picture 1 of deer" in said_of_it and "id-1" in said_of_it
    assert "True: deer. Found: fox 0.93; deer 0.20." in said_of_it
    large.evaluate("image => image.decode()")
    assert (large.bounding_box() or {})["width"] > 400, "larger than its file"
    true, found = (dialog.locator(f".stage rect.{kind}").first for kind in ("true", "found"))
    look = "box => [getComputedStyle(box).stroke, getComputedStyle(box).strokeDasharray]"
    assert all(one != other for one, other in zip(true.evaluate(look), found.evaluate(look), strict=True))
    assert dialog.locator(".stage text").all_text_contents() == ["deer", "fox 0.93", "deer 0.20"]
    heights = sorted(box["y"] for words in dialog.locator(".stage text").all() if (box := words.bounding_box()))
    assert all(low - high > 10 for high, low in pairwise(heights)), "no words on others"
    page.get_by_label("Boxes").uncheck()
    assert not true.is_visible()
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        said.append(dialog.locator(".said").inner_text().split("picture ")[1][0])
    assert said == ["3", "0", "3"]
    dialog.get_by_role("button", name="Next").click()
    assert dialog.locator(".place").inner_text() == "1 of 3"
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and links.nth(0).evaluate("link => link === document.activeElement")


@pytest.mark.parametrize("which", [".pictures figure a.open", ".films a.open", "a.open:has(.chart)"])
def test_other_pictures_and_charts_open_too(page: Page, which: str) -> None:
    page.locator(which).first.click()
    assert page.locator("dialog").is_visible() and page.get_by_label("Boxes").is_hidden()
    assert (
        page.evaluate("async () => { const i = document.querySelector('.stage img'); await i.decode(); return i.naturalWidth }")
        > 0
    )
    assert violations(page) == []
    page.get_by_role("button", name="Close").click()
    assert not page.locator("dialog").is_visible()


def test_the_contents_list_leads_to_the_sections(page: Page) -> None:
    links = page.get_by_role("navigation", name="On this page").get_by_role("link")
    assert links.all_inner_texts() == [f"Models {HOSTILE}", "Confusion", "Pictures"]
    links.nth(1).click()
    assert page.url.endswith("#confusions")


def test_a_jump_ends_at_its_section_past_charts_and_pictures(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "chart.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="600" height="500"/>')
    Image.new("RGB", (480, 360)).save(tmp_path / "pictures/0.jpg")
    items = [shot(0, "deer", "wrong", "", False) | {"width": 480, "height": 360}] * 30
    path = tmp_path / "index.html"
    path.write_text(environment(TALL).get_template("tiny.html").render(items=items))
    with visited(browser, path) as (page, faults):
        assert misses(page) == [] and faults == []
        assert page.locator("nav.contents a").count() == 4
    path.write_text(path.read_text().replace("<img src=", '<img loading="lazy" src='))
    with visited(browser, path) as (page, _):
        assert misses(page) != [], "what this test rests on"


def test_long_names_do_not_widen_a_page(browser: Browser, tmp_path: Path) -> None:
    name = "x" * 220
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (160, 120)).save(tmp_path / "pictures/0.jpg")
    items = [shot(0, label, "wrong", place, True) for label, place in ((name, name), ("deer", "a"))]
    path = tmp_path / "index.html"
    path.write_text(environment(LONG).get_template("tiny.html").render(items=items, name=name))
    for size in (PHONE, WIDE):
        with visited(browser, path, viewport=size) as (page, _):
            assert not scrolls_sideways(page)


def test_lines_of_a_table_stay_under_cells_that_do_not_scroll(page: Page) -> None:
    """A browser draws collapsed borders behind the ground of such a cell."""
    cell = page.locator("tbody th").first
    assert cell.evaluate("cell => getComputedStyle(cell).position") == "sticky"
    assert cell.evaluate("cell => getComputedStyle(cell).borderCollapse") == "separate"


def test_nothing_is_cut_in_print(browser: Browser, tmp_path: Path) -> None:
    """The sheet is A4, landscape: 273 mm of it, 1031 px, are printed on."""
    columns = ["parameters", "macro F1: unseen", "95 % interval", "calibration error, unseen: before"] * 4
    path = tmp_path / "index.html"
    path.write_text(environment(WIDEST).get_template("tiny.html").render(columns=columns))
    with visited(browser, path, viewport={"width": 1031, "height": 700}) as (page, _):
        page.emulate_media(media="print")
        assert not scrolls_sideways(page)


def test_a_page_follows_light_and_dark(page: Page) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == "rgb(255, 255, 255)" and grounds[1] != grounds[0]


def test_everything_is_readable_without_a_script(browser: Browser, site: Path) -> None:
    with visited(browser, site / "d/index.html", java_script_enabled=False) as (page, faults):
        assert page.locator("tbody tr:visible").count() == page.locator("tbody tr").count() > 8
        assert page.locator("figure:visible").count() == 2 + 2 + 5
        assert not page.locator("select:visible, button:visible, nav.contents:visible, .count:visible").count()
        page.locator(".gallery a.open").first.click()
        assert page.url.endswith("/pictures/0.jpg")
        assert faults == []


def test_print_leaves_controls_out_and_everything_else_in(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("select:visible, .filters:visible, nav.contents:visible, .skip:visible").count()
    assert page.locator("tbody tr:visible").count() > 8 and page.locator("figure:visible").count() == 9
    assert page.locator(".gallery .pictures").evaluate("all => getComputedStyle(all).display") == "grid"
    assert page.locator("thead").first.evaluate("head => getComputedStyle(head).display") == "table-header-group"


def test_the_site_has_no_fault(browser: Browser, site: Path) -> None:
    """On a phone too, and by axe-core: light, dark and narrow."""
    assert check_site(browser, site) == {}


def test_faults_are_found(browser: Browser, site: Path, tmp_path: Path) -> None:
    """What the other tests rest on."""
    path = tmp_path / "bad.html"
    path.write_text("""<!doctype html><title>bad</title><h2>a</h2><h4>b</h4><a href="gone.html">gone</a><a href="#none">x</a>
        <p style="color: #999; background: #aaa">pale</p><div style="width: 900px">wide</div><img src="https://example.org/x.png">
        <script>fetch("http://example.org/data"); alert("hello"); missing()</script>""")
    found = "\n".join(check_page(browser, path))
    for fault in ("leads nowhere", "no such place: #none", "headings", "level 4 below 2", "axe: color-contrast", "axe: image-alt",
                  "sideways", "request: https://example.org/x.png", "request: http://example.org/data", "dialog: hello",
                  "missing is not defined"):  # fmt: skip
        assert fault in found, found
    with visited(browser, path, viewport=PHONE) as (page, _):
        assert scrolls_sideways(page)


@pytest.mark.slow
def test_every_page_of_a_finished_run_has_no_fault(browser: Browser, clone: Path) -> None:
    assert check_site(browser, clone / "reports") == {}
