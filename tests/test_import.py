"""What importing costs, and what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pt_cascade


def test_importing_is_fast_and_loads_no_engine() -> None:
    """``import pt_cascade`` and the command line's help take under a second of CPU and load neither torch, pyterrier nor ray."""
    code = (
        "import contextlib, io, sys, time; start = time.process_time(); import pt_cascade, pt_cascade.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): pt_cascade.cli.main(['--help'])\n"
        "heavy = {'torch', 'pyterrier', 'ray', 'transformers', 'pandas'} & set(sys.modules);"
        "print(time.process_time() - start, *heavy)"
    )
    seconds, *heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy == []
    assert float(seconds) < 1.0


def test_a_batch_run_loads_only_what_its_stages_use() -> None:
    """``pt-cascade run`` and a line load neither torch, numba nor scipy, which take 40 to 500 MB of each worker."""
    code = "import sys, pt_cascade.commands.batch.run; print(*{'torch', 'numba', 'scipy', 'sklearn', 'ray'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


def test_every_public_name_loads() -> None:
    """``__all__`` is sorted, each name in it is there, and an unknown name is an AttributeError."""
    assert sorted(pt_cascade.__all__) == dir(pt_cascade)
    assert all(getattr(pt_cascade, name) is not None for name in pt_cascade.__all__)
    assert not hasattr(pt_cascade, "no_such_name")


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING are the public names, so that editors know what runs."""
    tree = ast.parse(Path(pt_cascade.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(pt_cascade.__all__)


def test_every_module_says_what_it_is() -> None:
    """Each file of the package opens with a docstring and stays within 260 lines; a folder has at most 12 beside __init__."""
    folders = Counter(file.parent for file in Path(pt_cascade.__file__).parent.rglob("*.py") if file.name != "__init__.py")
    assert max(folders.values()) <= 12, folders
    for file in Path(pt_cascade.__file__).parent.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(source)), file
        assert source.count("\n") <= 260, file
