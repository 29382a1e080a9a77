"""What a run notes of its origin, and that no key is in it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyterrier as pt
import pytest
import yaml
from toys.batches import TOPICS, maker, run_into

import pt_cascade as ptc
from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.batch_run import run_batch
from pt_cascade.execution.batch.provenance.metadata import describe_stages
from pt_cascade.execution.batch.secrets import hide_secrets

KEY = "s3cr3t'Key/+=0123"


def read(run: Path) -> dict[str, dict[str, object]]:
    """The side file without its first and last line."""
    first, *lines, last = (run / "run.ir_metadata").read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("ir_metadata.start", "ir_metadata.end")
    content = yaml.safe_load("\n".join(lines))
    assert isinstance(content, dict)
    return content


def git(folder: Path, *words: str) -> str:
    """Run git as a user without settings."""
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    command = ["git", "-C", str(folder), *who, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_side_file_has_the_parts_of_ir_metadata(tmp_path: Path) -> None:
    """Those of https://www.ir-metadata.org, schema 0.1; the stages with cut-offs, each after the one before it."""
    run_into(tmp_path / "run", tag="mine", collection="vaswani")
    found = read(tmp_path / "run")
    parts = ["schema-version", "run-version", "tag", "platform", "research goal", "implementation", "method", "actor", "data"]
    assert [*found][: len(parts)] == parts
    assert (found["schema-version"], found["tag"]) == (0.1, "mine")
    cpu = found["platform"]["hardware"]["cpu"]
    assert (type(cpu["model"]), cpu["number of cores"]) == (str, os.cpu_count())
    assert set(found["platform"]["operating system"]) == {"kernel", "distribution"}
    assert f"pandas=={__import__('pandas').__version__}" in found["platform"]["software"]["libraries"]["python"]
    assert found["method"]["automatic"] is True
    stages = [(stage["name"], stage["cutoff"], stage.get("reranks")) for stage in found["method"]["retrieval"]]
    assert stages == [("toy", 15, None), ("noting", 10, "toy")]
    data = found["data"]["test collection"]
    assert (data["name"], data["queries"]) == ("vaswani", len(TOPICS))
    assert found["implementation"]["source"]["lang"] == ["python"]


def test_a_model_has_its_revision_and_a_fusion_its_weights(tmp_path: Path) -> None:
    """The hash of a folder of a model is the published one of ``tell_weights``."""
    (tmp_path / "config.json").write_text("{}")
    t5 = ptc.stages.mono_t5(str(tmp_path), max_length=256)
    first, second, fusion = describe_stages(ptc.Cascade.of(maker()()[0] % 5 >> t5 % 3).fused({"toy": 1, "mono_t5": 3}))
    assert (first["name"], second["reranks"]) == ("toy", "toy")
    assert second["params"]["model"] == "files bef6acf233bd20dd9e6d"
    assert second["params"]["max_length"] == "256"
    assert (fusion["interpolates"], fusion["weight"]) == (["toy", "mono_t5"], [0.25, 0.75])


def test_the_commit_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the repository in whose folder the run is started; the password of its address is not noted."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://me:passw0rd@example.org/x.git")
    (tmp_path / "a.py").touch()
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "one")
    monkeypatch.chdir(tmp_path)
    out = tmp_path.parent / f"{tmp_path.name}-runs"
    run_into(out / "clean")
    (tmp_path / "a.py").write_text("1")
    run_into(out / "dirty")
    sources = [read(out / name)["implementation"]["source"] for name in ("clean", "dirty")]
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert [(source["commit"], source["dirty"]) for source in sources] == [(commit, False), (commit, True)]
    assert sources[0]["repository"] == "https://example.org/x.git"


def test_each_call_is_noted_and_what_you_fill_in_stays(tmp_path: Path) -> None:
    """Two parts and a merge: two calls with their times; the same command again changes nothing."""
    for part in (1, 2):
        run_into(tmp_path / "run", shard=(part, 2))
    assert not (tmp_path / "run/run.ir_metadata").exists()
    run_into(tmp_path / "run")
    calls = read(tmp_path / "run")["resources"]
    assert [call["shard"] for call in calls] == [[1, 2], [2, 2]]
    assert all(call["runtime"]["stop time"] >= call["runtime"]["start time"] for call in calls)
    file = tmp_path / "run/run.ir_metadata"
    file.write_text(filled := file.read_text().replace("actor: null", "actor: {name: Ada}"))
    run_into(tmp_path / "run")
    assert file.read_text() == filled


def test_a_call_that_is_killed_is_noted_without_an_end(tmp_path: Path) -> None:
    """The process dies in its first shard."""
    code = "import sys; from toys.batches import *; run_batch(maker(kills='q1'), TOPICS, sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], env=environment, check=False)
    (file,) = (tmp_path / "run/calls").iterdir()
    assert json.loads(file.read_bytes())["resources"]["runtime"]["stop time"] is None


def test_no_key_is_in_any_file_of_a_run(tmp_path: Path) -> None:
    """A key in the environment and in the words of the command, and one that no variable has."""
    TOPICS.to_csv(tmp_path / "topics.tsv", sep="\t", header=False, index=False)
    code = "import sys; from toys.batches import *; run_into(sys.argv[1], log=sys.argv[1] + '.log')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MY_API_KEY": KEY}
    words = [str(tmp_path / "run"), KEY, "--token", "tok-abcdef", f"--url=https://u:{KEY}@example.org/", "sk-proj-0123456789abcdef"]
    subprocess.run([sys.executable, "-c", code, *words], env=environment, check=True, cwd=tmp_path)
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "topics.tsv"]
    assert {"run.ir_metadata", "manifest.json", "run.log"} <= {file.name for file in files}
    for secret in (KEY, "s3cr3t", "tok-abcdef", "0123456789abcdef"):
        assert [file for file in files if secret.encode() in file.read_bytes()] == []
    command = shlex.split(read(tmp_path / "run")["implementation"]["executable"]["cmd"])
    assert command[4:] == ["$MY_API_KEY", "--token", "[hidden]", "--url=https://example.org/", "[hidden]"]


@pytest.mark.filterwarnings("ignore:.*shard 0 failed")
def test_no_key_is_in_the_error_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage whose error shows the key: neither the error of the run nor a file of it does."""
    monkeypatch.setenv("MY_API_KEY", KEY)

    def refuse(_: object) -> float:
        raise ValueError(f"401 for {KEY}, no key: text")

    with pytest.raises(CascadeError, match=r"401 for \$MY_API_KEY, no key: text") as failed:
        run_batch(maker()()[0] >> pt.apply.doc_score(refuse), TOPICS, tmp_path / "run", max_attempts=1, log=tmp_path / "log")
    assert KEY not in str(failed.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("llm_judge(model='m', api_key_env='OPENAI_API_KEY')", "llm_judge(model='m', api_key_env='OPENAI_API_KEY')"),
        ("max_tokens=512, tokenizer='t5-base'", "max_tokens=512, tokenizer='t5-base'"),
        ("run --api-key=abc", "run --api-key=[hidden]"),
        ("password: 'two words', x", "password: [hidden], x"),
        ("export HF_TOKEN=hf_abcdefgh12", "export HF_TOKEN=[hidden]"),
        ("a hf_abcdefgh12 b", "a [hidden] b"),
    ],
)
def test_what_names_no_key_stays(text: str, expected: str) -> None:
    """Names of variables, and words such as tokens, are no keys."""
    assert hide_secrets(text, {}) == expected


def test_energy_is_measured_on_request(tmp_path: Path) -> None:
    """By a process of its own, which writes no file: joules where the processor counts them, else nothing."""
    pytest.importorskip("tirex_tracker", reason="pip install 'pt_cascade[tracking]'")
    run_batch(maker(), TOPICS, tmp_path / "run", energy=True)
    (call,) = read(tmp_path / "run")["resources"]
    assert [[*call[part]] for part in ("cpu", "ram", "gpu")] == [["energy used system"]] * 3
    counters = [file for file in Path("/sys/class/powercap").glob("intel-rapl:*/energy_uj") if os.access(file, os.R_OK)]
    joules = call["cpu"]["energy used system"]
    assert re.fullmatch(r"[0-9.e+]+ J", joules) if counters else joules is None
    assert not [*tmp_path.rglob(".tirex-tracker")]
