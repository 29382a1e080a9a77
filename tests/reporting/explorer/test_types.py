"""The types that the comments of the page's script give, by TypeScript's compiler, which ``make check`` installs where npm is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pt_cascade.reporting.explorer

SCRIPTS = sorted((Path(pt_cascade.reporting.explorer.__file__).parent / "assets").glob("*.js"))
OPTIONS = ["--noEmit", "--allowJs", "--checkJs", "--target", "es2023", "--lib", "es2023,dom,dom.iterable"]


def test_the_types_of_the_script(tmp_path: Path) -> None:
    """The compiler finds a wrong argument and an unknown name in added lines, and nothing in the scripts."""
    tsc = shutil.which("tsc", path=f"{sys.prefix}/node_modules/.bin") or shutil.which("tsc")
    if tsc is None:
        pytest.skip("there is no tsc: make check installs it by npm, which Debian has as apt-get install npm")
    (tmp_path / "bokeh.d.ts").write_text("declare const Bokeh: any;", encoding="utf-8")
    (tmp_path / "wrong.js").write_text('shade("red", 255);\nnew Orders(content).replayed;\n', encoding="utf-8")
    words = [tsc, *OPTIONS, "bokeh.d.ts", "wrong.js", *map(str, SCRIPTS)]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False).stdout.splitlines()
    assert [line.partition("(")[0] for line in found] == ["wrong.js", "wrong.js"]
    assert "Argument of type 'string' is not assignable to parameter of type 'number'" in found[0]
