"""The page as a person uses it: sliders, keyboard, links, copies, narrow screens, print, and hostile names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toys.pages import open_page, settle, start_browser
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc
from pt_cascade.analysis.calibration import report_calibration

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries
BREAKS = "document.title='broken'"
HOSTILE = f'<script>{BREAKS}</script><img src=x onerror="{BREAKS}"> $$x^2$$ &amp; {{{{ 7 * 7 }}}} | \\ % \u2028'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with start_browser() as started:
        yield started


@pytest.fixture(scope="module")
def file(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small sweep with costs, a budget and a calibration."""
    assert browser.is_connected()
    scores, labels = make_scores(60, 30, 3)
    cost = [ptc.StageCost(fixed_ms=4), ptc.StageCost(per_pair_ms=0.5), ptc.StageCost(per_pair_ms=3)]
    sweep = make_sweep(scores, labels, ("nDCG@10", "R@20"), cost=cost, grid=ptc.grid([5, 10, 20, 30], [2, 5, 10], None))
    path = tmp_path_factory.mktemp("page") / "page.html"
    calibration = report_calibration(sweep.table, "s3", sweep.replayer.judged.qrels)
    ptc.report(sweep, ptc.choose(sweep, "nDCG@10", budget_ms=30), path, calibration=calibration)
    return path


def test_a_slider_moves_all_figures(browser: Any, file: Path) -> None:
    """One key press on a slider moves the markers, the recall curves, the times, the words, the tables, the code and the link."""
    parts = {
        "front": "explorer.plots.model('front', 'current').data.x[0]",
        "surface": "explorer.plots.model('surface', 'current').data.x[0]",
        "recall": "explorer.plots.model('recall', 'cut0').data.x[0]",
        "second": "explorer.plots.model('recall', 'recall1').data.x.length",
        "times": "explorer.plots.model('latency', 'times').data.x[1]",
        "words": "document.getElementById('now').textContent",
        "losses": "document.getElementById('losses').textContent",
        "queries": "document.getElementById('queries').textContent",
        "compare": "document.getElementById('compare').textContent",
        "python": "document.getElementById('python').textContent",
        "link": "location.hash",
    }
    with open_page(browser, file, "#k1=20&k2=5") as page:
        settle(page)
        before = {name: page.evaluate(script) for name, script in parts.items()}
        page.focus("#slider-k1")
        page.keyboard.press("ArrowLeft")
        settle(page)
        after = {name: page.evaluate(script) for name, script in parts.items()}
        assert [name for name in parts if before[name] == after[name]] == []
        assert after["recall"] == 10
        assert page.evaluate("explorer.plots.model('recall', 'chosen0').data.x[0] === explorer.rows.cutoffs(content.chosen)[0]")
        assert "cascade.with_cutoffs(10, 5, None)" in after["python"]
        assert page.get_attribute("#slider-k1", "aria-valuetext") == "10"


def test_the_page_works_in_a_frame_of_a_notebook(browser: Any, file: Path, tmp_path: Path) -> None:
    """There it has no address of its own: sliders move all the same, and no link is offered."""
    notebook = tmp_path / "notebook.html"
    page_text = escape(file.read_text(encoding="utf-8"))
    notebook.write_text(f'<!doctype html><html data-ready><iframe srcdoc="{page_text}"></iframe>', encoding="utf-8")
    with open_page(browser, notebook) as page:
        page.frame_locator("iframe").locator("html[data-ready]").wait_for(state="attached")
        frame = page.frames[1]
        before = frame.locator("#now").text_content()
        frame.locator("#slider-k1").press("ArrowLeft")
        settle(frame)
        assert frame.locator("#now").text_content() != before
        assert frame.locator("#link").is_hidden()


def test_the_budget_moves_all_figures(browser: Any, file: Path) -> None:
    """The slider of the budget moves its lines and the best vector; at its end there is no budget."""
    with open_page(browser, file, "#k1=30&k2=10&budget=20") as page:
        assert page.evaluate("explorer.plots.model('front', 'limit').location") == 20
        assert page.evaluate("explorer.plots.model('latency', 'limit').location") == 20
        assert "above the budget" in page.inner_text("#now")
        hatched = "explorer.plots.model('surface', 'cells').data.image[0].some((color) => color && color < 2 ** 24)"
        assert page.evaluate(hatched)  # a color, transparent: above the budget
        assert page.evaluate("[roundTicks(30, 1300), roundTicks(0.9, 5000)]") == [[50, 100, 200, 500, 1000], [1, 10, 100, 1000]]
        page.click("#go-best")
        settle(page)
        assert "within the budget" in page.inner_text("#now")
        page.focus("#slider-budget")
        page.keyboard.press("End")
        settle(page)
        assert page.inner_text("#shown-budget") == "no limit"
        assert not page.evaluate(f"explorer.plots.model('front', 'limit').visible || {hatched}")


def test_a_link_shows_the_same_view(browser: Any, file: Path) -> None:
    """The fragment that a page writes opens another page at the same cut-offs, budget, measure and query."""
    with open_page(browser, file) as page:
        page.select_option("#measure", label="R@20")
        page.focus("#slider-k2")
        page.keyboard.press("Home")
        page.focus("#slider-budget")
        page.keyboard.press("End")
        page.click("#queries button >> nth=1")
        settle(page)
        assert "no limit" in page.inner_text("#shown-budget")
        fragment, words, query = page.evaluate("location.hash"), page.inner_text("#now"), page.inner_text("#query")
    with open_page(browser, file, fragment) as page:
        settle(page)
        assert (page.inner_text("#now"), page.inner_text("#query")) == (words, query)


def test_a_link_of_another_page_shows_the_choice(browser: Any, file: Path) -> None:
    """What the page does not have in the fragment is as without it."""
    with open_page(browser, file) as page:
        words = page.inner_text("#now")
    for fragment in ("%%%", "k1=7&k9=2&measure=<b>&query=%E0%A4%A&budget=1e999", "k1=&k2=&budget=-5"):
        with open_page(browser, file, f"#{fragment}") as page:
            settle(page)
            assert page.inner_text("#now") == words


def test_copies(browser: Any, file: Path) -> None:
    """The buttons copy the code, and the table as Markdown and as LaTeX."""
    with open_page(browser, file, permissions=["clipboard-read", "clipboard-write"]) as page:
        settle(page)

        def copied(button: str) -> str:
            page.click(button)
            page.wait_for_selector(f"{button}:text('Copied')")
            return str(page.evaluate("navigator.clipboard.readText()"))

        assert copied("#copy-python") == page.inner_text("#python")
        markdown, latex = copied("#copy-markdown"), copied("#copy-latex")
        odd = page.evaluate("[asMarkdown, asLatex].map((write) => write([['a', 'b'], ['x', '<i>*_|--≤']]))")
    assert odd[0].splitlines()[2] == r"| x | \<i>\*\_\|--≤ |"
    assert odd[1].splitlines()[4] == r"x & $<$i$>$*\_$|$-{}-$\leq$ \\"
    lines = markdown.splitlines()
    assert lines[0] == "| What | Cascade | nDCG@10 | R@20 | longest time of a query, ms |"
    assert lines[1] == "|---|---|---|---|---|"
    assert latex.count(r" \\") == len(lines) - 1
    assert latex.startswith("\\begin{tabular}{llrrr}\n\\toprule\nWhat & Cascade & nDCG@10")
    assert r"s1 $\rightarrow$ " in latex


def test_hostile_names_are_text(browser: Any, tmp_path: Path) -> None:
    """Markup in a qid, docno, query, stage and collection stays text: no element, no title, no request, no formula."""
    rng = np.random.default_rng(0)
    docnos = [f"{HOSTILE.strip()}{n}" for n in range(8)]
    stage = HOSTILE.replace("\u2028", "")
    frame = pd.DataFrame({"qid": np.repeat([f"{HOSTILE}{n}" for n in range(6)], 8), "docno": docnos * 6, "score": rng.random(48)})
    topics = pd.DataFrame({"qid": frame["qid"].unique(), "query": HOSTILE})
    table = ptc.ScoreTable.from_runs({stage: frame, "t5": frame.assign(score=rng.random(48))}, topics)
    qrels = frame[["qid", "docno"]].assign(label=rng.integers(0, 2, 48))
    sweep = ptc.sweep(table, qrels, ["nDCG@10"], grid=ptc.grid([2, 4, 8], [1, 2]))
    path = tmp_path / "page.html"
    ptc.report(sweep, ptc.choose(sweep, "nDCG@10", folds=2), path)
    assert path.read_text(encoding="utf-8").count("<script") == 5  # the data, the figures, two of Bokeh's, the page's own
    with open_page(browser, path) as page:
        settle(page)
        page.click("#queries button")
        page.wait_for_selector("#fates")
        assert "broken" not in page.title().split("<")[0]
        assert page.title().startswith(page.inner_text("h1")[:20])
        assert page.locator("img").count() == 0
        for part in ("#now", "#losses", "#queries", "#compare", "#recall-legend", "h1", "#sliders"):
            assert "<script>document.title='broken'</script>" in page.inner_text(part), part
        assert docnos[0][:40] in page.inner_text("#fates")


def test_long_and_right_to_left_names(browser: Any, tmp_path: Path) -> None:
    """A query of 10,000 characters is cut off at 200; a docno that reverses what follows, reverses only itself."""
    frame = pd.DataFrame(
        {"qid": np.repeat([*"12"], 3), "docno": [f"\u202e\u05d0{n}" for n in range(3)] * 2, "score": [3.0, 2, 1] * 2}
    )
    table = ptc.ScoreTable.from_runs({"bm25": frame}, pd.DataFrame({"qid": [*"12"], "query": "long " * 2000}))
    sweep = ptc.sweep(table, frame[["qid", "docno"]].assign(label=[0, 1, 1] * 2), ["RR"], grid=[(2,), (3,)])
    ptc.report(sweep, ptc.choose(sweep, "RR", folds=2), tmp_path / "page.html")
    with open_page(browser, tmp_path / "page.html", "#k1=2&query=1", viewport={"width": 360, "height": 800}) as page:
        settle(page)
        assert page.inner_text("#queries tbody td >> nth=1") == "long " * 40 + "…"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("[...document.querySelectorAll('#fates bdi')].map((one) => one.textContent)") == [
            f"\u202e\u05d0{n}" for n in (2, 1, 0, 1, 0)
        ]
        assert page.inner_text("#fates tbody td >> nth=3").endswith("(not relevant, 0)")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1600, "dark")])
def test_it_fits_and_is_accessible(browser: Any, file: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the window, axe-core finds no fault, and the Tab key stops at no figure, where keys do nothing."""
    from axe_playwright_python.sync_playwright import Axe

    with open_page(browser, file, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        settle(page)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.focus("#link")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Table of losses"
        page.click("#queries button")
        found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["failureSummary"], one["nodes"][0]["html"]) for one in found] == []


def test_it_prints_on_two_pages(browser: Any, file: Path) -> None:
    """A print takes two pages of A4, in the light colors."""
    with open_page(browser, file, color_scheme="dark") as page:
        settle(page)
        printed = page.pdf(prefer_css_page_size=True)
        image = "one.getContext('2d').getImageData(0, 0, one.width, one.height)"
        ink = f"new Uint32Array({image}.data.buffer).filter((pixel) => pixel === 0xff2a2016).length"  # the light page's text
        pixels = page.evaluate(f"[...document.querySelectorAll('.printed')].map((one) => {ink})")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
    assert len(pixels) == 5
    assert min(pixels) > 50


def test_it_works_without_costs_and_with_one_stage(browser: Any, tmp_path: Path) -> None:
    """Without costs the page counts model pairs and shows no times; with one cut-off it shows no surface."""
    scores, labels = make_scores(20, 12, 1)
    sweep = make_sweep(scores, labels, ("RR", "ERR@10"))
    path = tmp_path / "page.html"
    ptc.report(sweep, ptc.choose(sweep, "RR"), path)
    with open_page(browser, path) as page:
        settle(page)
        assert not page.is_visible("#surface-figure")
        assert not page.is_visible("#latency-figure")
        assert "No budget to move: all vectors cost the same, 0 pairs." in page.inner_text("#sliders")
        assert "model pairs a query" in page.inner_text("#now")
        page.select_option("#measure", label="ERR@10")
        settle(page)
        assert "ERR@10 is not computed in this page" in page.inner_text("#queries-words")
