"""``pt-cascade cache``: it lists and deletes what pt_cascade cached, and nothing else."""

from __future__ import annotations

import io
import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from toys.folders import write_folder
from toys.lines import paragraphs

from pt_cascade.caches import cache_folder
from pt_cascade.cli import main
from pt_cascade.collections import make_collection, open_collection
from pt_cascade.execution.defaults import store_index
from pt_cascade.execution.scoring.checkpoint import open_checkpoint

KEY, LONG = "0123456789abcdef", "0123456789abcdef" * 4
OURS = {
    "index": f"stored/{KEY}/index-pisa",
    "vectors": f"stored/{KEY}/vectors-0c28f57d",
    "scores": f"stored/{KEY}/scores-{KEY}",
    "checkpoint": f"scores/{KEY}",
    "pydocs": f"pydocs/numpy==2.4.6/{KEY}",
    "checksum": f"checksums/{LONG}",
    "unfinished": f"stored/{KEY}/.vectors-0c28f57d.partial",
}
# a user's own files, where PT_CASCADE_CACHE is a folder that holds more than the cache
FOREIGN = ["scores/thesis", "stored/photos/index-2024", "notes.txt", "pydocs/mine/notes", f"scores/.{KEY}", "stored/.git/index-1"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an entry of each kind, 1,000 bytes and two days old each, between files of somebody else."""
    root = tmp_path / "cache"
    monkeypatch.setenv("PT_CASCADE_CACHE", str(root))
    then = time.time() - 2 * 86400
    for place in OURS.values():
        (root / place).mkdir(parents=True)
        (root / place / "file").write_bytes(b"x" * 1000)
        for path in (root / place / "file", root / place):
            os.utime(path, (then, then))
    (root / "stored" / KEY / "collection.txt").write_text("./mine")
    for place in FOREIGN:
        (root / place).mkdir(parents=True)
    return root


def listed(*words: str) -> dict[str, str]:
    """The kinds that are listed, each with the rest of its line."""
    lines = "\n".join(paragraphs("cache", "list", *words)).splitlines()
    return {line.split()[0]: line.partition(" ")[2].strip() for line in lines[1:-2]}


def test_every_entry_is_listed_with_its_size_and_age(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: by hand; a folder of 1,000 bytes is 1,000 bytes and what the folder itself takes."""
    found = listed()
    assert set(found) == set(OURS)
    folder = (root / OURS["index"]).stat().st_size + 1000
    size = f"{folder / 1000:.0f} kB"
    assert " ".join(found["index"].split()) == f"1 {size} 2 d ./mine"
    assert " ".join(found["pydocs"].split()) == f"1 {size} 2 d numpy==2.4.6"
    assert " ".join(found["checkpoint"].split()) == f"1 {size} 2 d -"
    assert paragraphs("cache", "list")[-1].startswith("7 entries, ")
    (root / OURS["scores"]).rename(root / OURS["scores"].replace("scores-", "scores-2"))
    (root / OURS["scores"]).mkdir()
    (root / "stored" / KEY / "collection.txt").write_text("./" + "long" * 30)
    monkeypatch.setenv("COLUMNS", "80")
    shown = paragraphs("cache", "list")[0]
    assert listed()["scores"].startswith("2 ")  # those of one collection are one row
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" in shown
    assert set(listed("--kind", "scores", "checksum")) == {"scores", "checksum"}


@pytest.mark.usefixtures("root")
def test_unfinished_scoring_names_its_stages() -> None:
    """Those of the checkpoint that a killed call of ``score`` leaves."""
    parts = {"stages": json.dumps({"bm25": "0a", "mono_t5": "1b"}), "topics": "2c"}
    with suppress(KeyboardInterrupt), open_checkpoint(cache_folder("scores", KEY[::-1]), parts):
        raise KeyboardInterrupt
    assert "scoring of bm25 → mono_t5" in paragraphs("cache", "list", "--kind", "checkpoint")[0]


def test_clear_deletes_what_is_ours_and_leaves_no_empty_folder(root: Path) -> None:
    """Of one kind, then all; files and folders of other names stay."""
    paragraphs("cache", "clear", "--kind", "index", "--yes")
    assert {kind for kind, place in OURS.items() if (root / place).exists()} == {*OURS} - {"index"}
    paragraphs("cache", "clear", "--yes")
    left = {str(path.relative_to(root)) for path in root.rglob("*") if not any(path.iterdir())}
    assert left == {*FOREIGN}
    assert not (root / "stored" / KEY).exists()
    for place in FOREIGN:
        for folder in [root / place, *(root / place).parents]:
            if root in folder.parents and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    assert paragraphs("cache", "list") == [f"0 entries, 0 B, in {root}"]


def test_no_link_is_followed_out_of_the_cache(root: Path, tmp_path: Path) -> None:
    """A link in place of an entry is deleted itself; behind a link above entries nothing is listed or deleted."""
    outside = tmp_path / "outside"
    (outside / "index-pisa").mkdir(parents=True)
    (outside / "index-pisa" / "file").touch()
    (root / "stored" / KEY[::-1]).symlink_to(outside)
    (root / "stored" / KEY / "vectors-ffffffff").symlink_to(outside)
    (root / OURS["index"] / "inner").symlink_to(outside)
    paragraphs("cache", "clear", "--yes")
    assert (outside / "index-pisa" / "file").exists()
    assert not (root / "stored" / KEY).exists()
    assert (root / "stored" / KEY[::-1]).is_symlink()


@pytest.mark.parametrize(("answer", "left"), [("", 7), ("n\n", 7), ("y\n", 0), ("yes\n", 0)])
def test_clear_asks(
    answer: str, left: int, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --yes nothing is deleted but after a yes; an end of input is no yes. The cure works."""
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["cache", "clear"]) == (1 if left else 0)
    assert sum((root / place).exists() for place in OURS.values()) == left
    if left:
        assert capsys.readouterr().err == "pt-cascade cache: nothing was deleted. Fix: pt-cascade cache clear --yes\n"
        assert main(["cache", "clear", "--yes"]) == 0


def test_what_is_stored_for_a_collection_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of a folder is listed under the name that opens the folder; without it nothing of it is left."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    topics = pd.DataFrame({"qid": ["1"], "query": ["red"]})
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]})
    docs = [{"docno": "a", "text": "red"}, {"docno": "b", "text": "blue"}]
    write_folder(make_collection("toys", topics, qrels, docs), tmp_path / "toys")
    store_index(open_collection(tmp_path / "toys"))
    assert str(tmp_path / "toys").endswith(listed()["index"].split()[-1].removeprefix("…"))
    paragraphs("cache", "clear", "--yes")
    assert not (tmp_path / "cache").exists()


def test_a_misspelt_kind_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    """As for every other choice."""
    with pytest.raises(SystemExit):
        main(["cache", "list", "--kind", "vector"])
    assert "did you mean 'vectors'?" in capsys.readouterr().err


def test_an_empty_cache_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was never made has no entry, and clearing it asks nothing."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "none"))
    assert paragraphs("cache", "clear") == [f"0 entries, 0 B, in {tmp_path / 'none'}"]
