"""The page of a large sweep: its size, and how long it and its sliders take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.pages import open_page, start_browser
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # costs by hand


@pytest.mark.slow
def test_a_large_page_is_fast(tmp_path: Path) -> None:
    """All 95,050 vectors of 200 queries with 1,000 documents: below 4 MB, open in 2 s, and a slider moves all in 100 ms (p95)."""
    scores, labels = make_scores(200, 1000, 3)
    cost = [ptc.StageCost(fixed_ms=4), ptc.StageCost(per_pair_ms=0.05), ptc.StageCost(per_pair_ms=2)]
    sweep = make_sweep(scores, labels, cost=cost, grid=ptc.grid(range(1, 1001), range(1, 101), None))
    path = tmp_path / "page.html"
    ptc.report(sweep, ptc.choose(sweep, "nDCG@10", budget_ms=100), path)
    assert path.stat().st_size < 4_000_000
    step = """async (place) => {
        const slider = document.getElementById("slider-k1"), begun = performance.now();
        slider.value = String(place);
        slider.dispatchEvent(new Event("input"));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
        return performance.now() - begun;
    }"""
    with start_browser() as browser, open_page(browser, path) as page:
        assert page.evaluate("performance.now()") < 2000
        times = [page.evaluate(step, place) for place in range(0, 1000, 20)]
    assert np.percentile(times, 95) <= 100
