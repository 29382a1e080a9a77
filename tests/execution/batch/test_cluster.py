"""Runs on a Ray cluster of three nodes on this machine: the bytes are those of one process, whatever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from toys.batches import SHARD, TOPICS, rankings
from toys.dying import maker

from pt_cascade.errors import CascadeError, CascadeWarning
from pt_cascade.execution.batch.batch_run import run_batch
from pt_cascade.execution.batch.storage.folder import BatchFolder

ray = pytest.importorskip("ray", reason="pip install 'pt_cascade[ray]'")
STORE = 80 << 20  # bytes of a node's object store, about the least that Ray allows


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Three nodes of one processor each, which know nothing of Java; two have a disk, which the re-ranker asks for."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_DISABLE_FAILURE_SIGNAL_HANDLER")
        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=STORE, resources={"disk": 1})
    ray.init(address=started.address, log_to_driver=False, logging_level="error")
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The rankings of one process."""
    return run_into(tmp_path_factory.mktemp("serial") / "run", executor="serial")


def run_into(out: Path, harm: str = "", *, executor: str = "ray", **options: object) -> dict[str, bytes]:
    """Run the toy into a folder; return its rankings."""
    cascade = maker(harm=harm, file=f"{out}.harm")
    run_batch(cascade, TOPICS, out, executor=executor, shard_queries=SHARD, query_batch_size=2, prefixes=["all"], **options)
    return rankings(out)


def test_the_example_of_a_cluster_is_what_ray_accepts() -> None:
    """By Ray's own check of such files."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    example = Path(__file__).parents[3] / "experiments/clusters/ray.yaml"
    validate_config(prepare_config(yaml.safe_load(example.read_text(encoding="utf-8"))))


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("resources", [None, {"dying": {"disk": 1, "num_cpus": 0}}], ids=["one group", "two groups"])
def test_a_cluster_writes_what_one_process_writes(
    tmp_path: Path, expected: dict[str, bytes], resources: dict[str, dict[str, float]] | None
) -> None:
    """Two workers, for all stages together, or for each stage on nodes of its own; the cluster goes on."""
    assert run_into(tmp_path / "run", workers=2, resources=resources) == expected
    assert ray.is_initialized()


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_dies_is_replaced(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """The shard that it ran is named and runs again, the others are not tried twice."""
    with pytest.warns(CascadeWarning, match="shard 3 failed, and is tried again: the worker on the cluster failed") as warned:
        assert run_into(tmp_path / "run", "worker", workers=2, max_attempts=2) == expected
    assert sum("failed" in str(one.message) for one in warned) == 1
    assert (tmp_path / "run.harm").exists()


@pytest.mark.usefixtures("cluster")
def test_java_keeps_its_signals(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Ray's own handler would end a process in which Terrier runs, at Java's next null pointer; workers start without it."""
    assert run_into(tmp_path / "run", "signals") == expected
    assert (tmp_path / "run.harm").exists()


def test_a_key_in_the_error_of_a_node_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written into the run's folder and its log."""
    from pt_cascade.execution.batch.executors.cluster import _describe

    monkeypatch.setenv("MY_API_KEY", "s3cr3t-value")
    error = ray.exceptions.RayTaskError("make", "", ValueError("401 for s3cr3t-value"))
    assert _describe(error) == "the worker on the cluster failed: 401 for $MY_API_KEY"


@pytest.mark.usefixtures("cluster")
def test_what_no_node_has_is_an_error_at_once(tmp_path: Path) -> None:
    """The stage, what it asks for, and what the nodes have are named; in all, more than there is; a stage that is misspelt."""
    started = time.perf_counter()
    with pytest.raises(CascadeError, match=r"(?s)up to 'dying' need 1 CPU, 1 GPU on one node.*2 nodes with 1 CPU, 1 disk"):
        run_into(tmp_path / "run", resources={"dying": {"num_gpus": 1}})
    with pytest.raises(CascadeError, match=r"3 workers with 3 disk in all, all nodes have 2 disk"):
        run_into(tmp_path / "run", workers=3, resources={"dying": {"disk": 1, "num_cpus": 0}})
    with pytest.raises(CascadeError, match=r"no stage 'diyng'.*did you mean 'dying'"):
        run_into(tmp_path / "run", resources={"diyng": {"disk": 1}})
    assert time.perf_counter() - started < 10


@pytest.mark.usefixtures("cluster")
def test_a_full_cluster_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job has both disks; when it ends, the same call runs."""
    monkeypatch.setattr("pt_cascade.execution.batch.executors.cluster._START_SECONDS", 1.0)
    holders = [ray.remote(object).options(num_cpus=0, resources={"disk": 1}).remote() for _ in range(2)]
    ray.get([holder.__ray_ready__.remote() for holder in holders])
    with pytest.raises(CascadeError, match=r"(?s)the cluster is full.*no worker got a place in 1 s.*0 disk left"):
        run_into(tmp_path / "run", resources={"dying": {"disk": 1, "num_cpus": 0}})
    for holder in holders:
        ray.kill(holder)


@pytest.mark.slow
def test_the_command_uses_the_cluster_that_is_named(cluster: object, tmp_path: Path, expected: dict[str, bytes]) -> None:
    """RAY_ADDRESS; SIGTERM in a shard ends it as a scheduler expects, and no attempt is counted; the same command goes on."""
    TOPICS.to_csv(tmp_path / "topics.tsv", sep="\t", header=False, index=False)
    os.mkfifo(tmp_path / "waits")
    words = ["run", "toys.dying:waiting", "--topics", "topics.tsv", "--out", "run", "--executor", "ray", "--workers", "2"]
    words += [
        "--shard-queries",
        str(SHARD),
        "--query-batch-size",
        "2",
        "--prefixes",
        "all",
        "--resources",
        "dying=disk:1,num_cpus:0",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_ADDRESS": cluster.address}
    command, given = [sys.executable, "-m", "pt_cascade.cli", *words], {"cwd": tmp_path, "env": environment, "text": True}
    process = subprocess.Popen(command, **given, stderr=subprocess.PIPE)
    assert (tmp_path / "waits").read_text() == "here"
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "the same command goes on" in err) == (143, True), err
    assert len(BatchFolder(tmp_path / "run").attempts(3)) == 0
    done = subprocess.run(command, **given, capture_output=True, check=False)
    assert (done.returncode, rankings(tmp_path / "run")) == (0, expected), done.stderr
    assert all(node["Alive"] for node in ray.nodes())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_node_that_dies_is_replaced(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """The re-ranker's node is killed in a shard; its worker gets a place on the other node that has what it asks for."""
    with pytest.warns(CascadeWarning, match="shard 3 failed, and is tried again"):
        assert run_into(tmp_path / "run", "node", resources={"dying": {"disk": 1, "num_cpus": 0}}) == expected


@pytest.mark.slow
def test_a_worker_that_uses_up_the_memory_is_replaced(cluster: object, tmp_path: Path, expected: dict[str, bytes]) -> None:
    """A node's limit is a little above what this machine uses now; the worker that exceeds it is killed by Ray, and replaced."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + (1 << 30)) / memory.total
    node = {"num_cpus": 0, "object_store_memory": STORE, "resources": {"small": 1}}
    cluster.add_node(**node, env_vars={"RAY_memory_usage_threshold": f"{limit:.3f}"})
    with pytest.warns(CascadeWarning, match="shard 3 failed, and is tried again"):
        assert run_into(tmp_path / "run", "memory", resources={"dying": {"small": 1, "num_cpus": 0}}) == expected
