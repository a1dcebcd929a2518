"""Pages of a study in which everything that a user can name is hostile, in a real browser: text is all that it becomes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from playwright.sync_api import Browser

from stages.pages.page import environment
from stages.samples import EMPTY
from tests import card_helpers as small
from tests import report_helpers
from tests.browser_helpers import broken_links, misbehaves, started_browser, visited

# As a label, a location, an id, a reason. What each would be taken for, if it were not escaped where it stands:
PAYLOADS = [
    "<script>alert(1)</script>",  # an element
    '"><img src=x onerror=alert(2)>',  # the end of an attribute
    "' onmouseover='alert(3)",
    "</style><style>*{display:none}</style><svg onload=alert(4)>",
    "</title></script><script>alert(5)</script>",
    "--><iframe src='https://example.org'></iframe>",
    "javascript:alert(6)",  # an address
    "//example.org/x.png",
    "url(https://example.org/y.png)",
    "{{ 7 * 7 }}{% raw %}",  # a template
    "${alert(7)}`",
    "&lt;b&gt; &#60;i&#62;",  # text that was escaped before
    "\u202egnp.exe\u2066",  # right to left
    "a\u2028b\tc",  # lines
    "%3Cscript%3E#?a=b",  # an address's own marks
    "=HYPERLINK(9)",  # a spreadsheet's
]  # fmt: skip
MODELS = ['"><img src=x onerror=alert(8)>', "javascript:alert(9)", "{{ 8 * 8 }} &lt;i&gt; %3Ci%3E#?"]  # names of folders, too


HANDLERS = "[...document.querySelectorAll('*')].flatMap(one => [...one.attributes]).map(own => own.name).filter(name => name.startsWith('on'))"
PROTOCOLS = "[...new Set([...document.links].map(link => link.protocol))].sort()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as found:
        yield found


@pytest.fixture
def site(stage: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages of such a study, and the index above them."""
    classes = [*PAYLOADS, EMPTY]
    labels = classes * 4
    parts = [part for part in ("train", "val", "seen", "unseen") for _ in classes]
    ids = [f"{n} {PAYLOADS[n % len(PAYLOADS)]}".replace("/", "") for n in range(len(labels))]
    for name, value in {"LABELS": labels, "PARTS": parts, "IDS": ids, "KNOWN": classes, "PLACE": PAYLOADS[1]}.items():
        monkeypatch.setattr(small, name, value)
    small.write_project(tmp_path)
    for model in MODELS:
        small.classifier(stage, model, dict.fromkeys(ids[::3], (PAYLOADS[0], 0.9)))
    report_helpers.compare(stage, references={MODELS[0]: [MODELS[0]]})
    name = '"><img src=x onerror=alert(10)>'
    done = report_helpers.run_report(stage, name, models={})
    assert done.code == 0, done.err
    Path("reports").mkdir()
    Path("page").rename(Path("reports") / name)
    done = stage("report", "--index", params={"datasets": {name: {}}, "models": {}})
    assert done.code == 0, done.err
    return tmp_path / "reports"


def test_nothing_that_has_a_name_is_more_than_text(browser: Browser, site: Path) -> None:
    """No dialog, no request, no error, no broken link on any page; and every name stands there as it is."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) == 1 + 2 + len(MODELS)  # the index, the study, its data, its models
    told = ""
    for path in pages:
        with visited(browser, path) as (page, faults):
            found = broken_links(page) + (misbehaves(page) if path.name == "index.html" else [])
            assert page.locator("script, iframe, object, embed, base, form").count() == 1  # the page's own script
            assert page.evaluate(HANDLERS) == [] and set(page.evaluate(PROTOCOLS)) <= {"file:", "https:"}
            told += page.locator("main").evaluate("main => main.textContent")
            assert faults + found == [], path
    assert [name for name in (*PAYLOADS, *MODELS) if name not in told] == []


ATTACKS = [
    "<script>alert('through 0')</script>",
    "<img src=data:,x onerror=\"alert('through 1')\">",
    "<a class=trap href=\"javascript:alert('through 2')\">x</a>",
    "<iframe srcdoc=\"<script>parent.alert('through 3')</script>\"></iframe>",
    "<img src='https://example.org/through 4'>",
    "<link rel=stylesheet href='https://example.org/through 5'>",
    "<style>body { background: url('https://example.org/through 6') }</style>",
    "<base href='https://example.org/'><img src='through 7'>",
    "<object data='https://example.org/through 8'></object>",
    "<form class=trap action='https://example.org/through 9'><button>x</button></form>",
]


def test_what_would_get_through_still_runs_and_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    """A template that forgets to escape: the page's policy is the second lock. Without it every one of these works."""
    text = f'{{% extends "base.html" %}}{{% block content %}}<h1>x</h1>{"".join(ATTACKS)}{{% endblock %}}'
    made = environment(jinja2.DictLoader({"leaky.html": text})).get_template("leaky.html").render()
    found = {}
    for name, policy in (("open", "X-None"), ("shut", "Content-Security-Policy")):
        path = tmp_path / f"{name}.html"
        path.write_text(made.replace("Content-Security-Policy", policy), encoding="utf-8")
        with visited(browser, path) as (page, faults):
            page.wait_for_timeout(500)
            for trap in ("a.trap", "form.trap"):
                page.evaluate(f"trap = document.querySelector('{trap}'), trap.submit ? trap.submit() : trap.click()")
                page.wait_for_timeout(300)
            said = "\n".join(fault for fault in faults if fault.startswith(("dialog: ", "request: "))).replace("%20", " ")
            found[name] = [n for n in range(len(ATTACKS)) if f"through {n}" in said]
    assert found == {"open": [*range(len(ATTACKS))], "shut": []}
