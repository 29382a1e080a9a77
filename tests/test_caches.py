"""Which cache folders are used: none that somebody else could have filled, and each that an ordinary set-up has."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from toys.rankers import ToyReranker
from toys.users import NOBODY, as_nobody

from pt_cascade.caches import cache_folder, check_trusted, export_command, find_danger
from pt_cascade.errors import CascadeError
from pt_cascade.execution.scoring.checkpoint import open_checkpoint
from pt_cascade.stages import cached

OTHER = 12345  # a user and a group
FRAME = pd.DataFrame({"qid": ["1"], "query": ["q"], "docno": ["d1"], "score": [1.0], "rank": [0]})


def test_a_cache_that_all_users_may_write_is_refused_and_the_command_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with the bit of /tmp, which lets others add files; then it is used, and what is in it cannot be written by others."""
    cache = tmp_path / "a cache"
    (cache / "stored").mkdir(parents=True)
    (cache / "stored").chmod(0o777)
    monkeypatch.setenv("PT_CASCADE_CACHE", str(cache))
    for mode in (0o777, 0o1777):
        cache.mkdir(exist_ok=True)
        cache.chmod(mode)
        with pytest.raises(CascadeError, match="it can be written by all users") as refused:
            cache_folder("stored")
        subprocess.run(shlex.split(refused.value.fix.partition(", or ")[0]), check=True)
        assert cache_folder("stored") == cache / "stored"
    assert (cache / "stored").stat().st_mode & 0o777 == 0o775


def test_a_link_is_refused_and_its_target_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the error gives the target; a link above the cache is followed, as /tmp is on some systems."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "link"))
    with pytest.raises(CascadeError, match=r"it is a link to .*there") as refused:
        cache_folder("stored")
    monkeypatch.setenv(*refused.value.fix.removeprefix("export ").split("=", 1))
    assert cache_folder("stored") == tmp_path / "there/stored"
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "link/cache"))
    cache_folder("stored").mkdir(parents=True)
    assert cache_folder("stored").is_dir()


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the users of some containers; the command names a folder."""
    for name in ("HOME", "PT_CASCADE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])
    with pytest.raises(CascadeError, match=r"there is no cache folder: .*home directory.* Fix: export HOME=/a/folder") as refused:
        cache_folder("stored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert refused.value.fix.startswith("export HOME=")
    assert cache_folder("stored") == tmp_path / ".cache/pt_cascade/stored"


def test_a_checkpoint_and_a_score_cache_are_held_to_it_too(tmp_path: Path) -> None:
    """The folder of the one, the file of the other; the cures are their arguments."""
    (tmp_path / "link").symlink_to(tmp_path)
    with (
        pytest.raises(CascadeError, match=r"is a link to .* Fix: score\(\.\.\., checkpoint='") as refused,
        open_checkpoint(tmp_path / "link", {}),
    ):
        pass
    assert refused.value.fix == f"score(..., checkpoint={str(tmp_path)!r})"
    stage = cached(ToyReranker(), tmp_path / "scores", identity="toy")
    stage.transform(FRAME)
    (tmp_path / "scores").chmod(0o666)
    with pytest.raises(CascadeError, match=r"it can be written by all users\. Fix: chmod -R o-w .*, or cached\(stage, '"):
        stage.transform(FRAME)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders to others")
def test_a_cache_of_another_user_is_refused_unless_it_is_shared_with_a_group(tmp_path: Path) -> None:
    """As nobody: of another user; of a group that may write it, which is nobody's or not; of root; of its own. Root uses all."""
    cases = {"other": (OTHER, OTHER, 0o755), "lab": (OTHER, NOBODY, 0o2775), "not mine": (OTHER, OTHER, 0o2775)}
    cases |= {"read": (OTHER, NOBODY, 0o2755), "root": (0, 0, 0o755), "own": (NOBODY, NOBODY, 0o700)}
    for name, (user, group, mode) in cases.items():
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, user, group)
        (tmp_path / name).chmod(mode)
        check_trusted(tmp_path / name, export_command)
    with as_nobody(tmp_path / "own"):
        found = {name: find_danger(tmp_path / name, export_command) for name in cases}
    refused = {name: danger for name, danger in found.items() if danger is not None}
    assert [*refused] == ["other", "not mine", "read"]
    assert {fix for _, fix in refused.values()} == {"export PT_CASCADE_CACHE=/a/folder/of/yours"}
