"""What ``pt-cascade doctor`` finds, and when it says that something is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from pt_cascade.cli import main
from pt_cascade.execution.installation import check_cache, check_packages
from pt_cascade.stages.catalogue import CATALOGUE


def test_it_fits_a_terminal_and_names_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """80 columns; the versions that are installed; a key is never shown."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "s3cr3t-key")
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert (err, max(map(len, out.splitlines())) <= 80) == ("", True)
    words = out.replace(",", " ").split()
    assert set(CATALOGUE) <= set(words)
    assert np.__version__ in words
    assert "OPENAI_API_KEY is set" in out
    assert "s3cr3t" not in out
    assert out.endswith("ready\n")


def test_a_problem_is_named_last_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A cache that is a file: with a fix."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    assert capsys.readouterr().out.endswith(
        f"problem: {tmp_path / 'file'} cannot be written: export PT_CASCADE_CACHE=/a/folder/of/yours\n"
    )


def test_a_cache_that_all_users_can_write_is_a_problem(tmp_path: Path) -> None:
    """The mode of the folder itself counts; one that does not exist yet is looked for above."""
    tmp_path.chmod(0o777)
    assert "can be written by all users" in check_cache(tmp_path).problem
    tmp_path.chmod(0o700)
    assert check_cache(tmp_path).problem == check_cache(tmp_path / "new/cache").problem == ""
    tmp_path.chmod(0o500)
    if os.getuid():
        assert "cannot be written" in check_cache(tmp_path / "new").problem


def test_a_package_that_is_missing_or_too_old_is_a_problem_and_of_an_extra_is_not() -> None:
    """With what is installed, what is needed, and the command; markers of other systems do not count."""
    lines = ["numpy>=1", "numpy>=999", 'no-such-package; platform_system == "Nowhere"']
    lines += ['no-such-package>=2; extra == "llm"', 'pandas; extra == "report"', 'no-such-package; extra == "dev"']
    packages, extras = check_packages(map(Requirement, lines))
    assert packages.problem == f"numpy>=999 ({np.__version__} installed): pip install --upgrade pt_cascade"
    expected = "report ready; llm lacks no-such-package>=2 (not installed): pip install 'pt_cascade[llm]'"
    assert (extras.found, extras.problem) == (expected, "")
