"""Pages in a browser: Debian's Chromium by Playwright, offline; tests that need it are skipped where it is missing."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def start_browser() -> Iterator[Any]:
    """Yield Chromium, or skip the test with the reason."""
    pytest.importorskip("bokeh", reason="pip install 'pt_cascade[report]'")
    pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")  # and Playwright with it
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, file: Path, fragment: str = "", **options: Any) -> Iterator[Any]:
    """Yield a page when its figures are drawn; fail on an error in the console, and on any request but for the file itself."""
    context = browser.new_context(**options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
    )
    page.goto(f"{file.as_uri()}{fragment}")
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    context.close()
    assert wrong == []


def settle(page: Any) -> None:
    """Wait until all that a slider moves is drawn, the tables below too."""
    look = "const look = () => (explorer.waiting || explorer.later ? setTimeout(look, 5) : done()); look();"
    page.evaluate(f"new Promise((done) => {{ {look} }})")
