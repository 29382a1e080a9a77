"""Shards whose stages run in several processes, without a cluster: what is passed on, and which stages run together."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from toys.batches import TOPICS, maker
from toys.rankers import ToyReranker, ToyRetriever

import pt_cascade as ptc
from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.executors.actors import StageActor
from pt_cascade.execution.batch.executors.resources import Group, check_feasible, group_stages
from pt_cascade.execution.batch.plan import Settings, make_plan
from pt_cascade.execution.batch.shards import Task, run_shard
from pt_cascade.execution.batch.source import CascadeSource


@dataclass(frozen=True)
class Unpicklable(ToyReranker):
    """A re-ranker that holds what cannot be pickled, as an index or a model does."""

    handle: object = field(default_factory=lambda: (None for _ in ()), compare=False)
    stage_name = "unpicklable"


def plain() -> ptc.Cascade:
    """Three stages."""
    return ptc.Cascade.of(ToyRetriever(docs=30, levels=5) % 15 >> ToyReranker() % 10 >> Unpicklable(levels=7) % 5)


def keeping() -> ptc.Cascade:
    """Three stages, and the tail below."""
    return plain().options(tail="keep")


def fused() -> ptc.Cascade:
    """Three stages, ranked by the scores of all."""
    return plain().fused({"toy": 0.2, "toy_reranker": 0.5, "unpicklable": 0.3})


@pytest.mark.parametrize("make", [plain, keeping, fused])
def test_a_shard_that_three_actors_run_is_that_of_one_process(make: object) -> None:
    """Rankings, prefixes and trace, but for the times; the actors have cascades of their own, and pass on frames alone."""
    cascade = make()
    plan, parts = make_plan(cascade, TOPICS, Settings(24, 5, 1, ("all",), "run"))
    source = pickle.dumps(CascadeSource(make))
    actors = [StageActor(source, plan, Group(name, {}), str(Path.cwd()), []) for name in plan.stages]
    given = Task(0, TOPICS.take(parts[0]))
    for actor in actors:
        given = pickle.loads(pickle.dumps(actor.run(given)))  # noqa: S301 - of this test
    expected = run_shard(cascade, TOPICS.take(parts[0]), plan)
    assert given.error == ""
    assert {name: given.files[name] for name in expected if name.endswith(".gz")} == {
        name: data for name, data in expected.items() if name.endswith(".gz")
    }
    traces = [pd.read_parquet(BytesIO(files["trace.parquet"])) for files in (given.files, expected)]
    pd.testing.assert_frame_equal(*(trace.drop(columns="ms") for trace in traces))


def test_an_error_passes_the_later_actors(tmp_path: Path) -> None:
    """A failure of the first group is the outcome; a folder that a node lacks is an error with a fix."""
    make = maker(fails="q2")
    cascade = ptc.Cascade.of(make())
    plan, parts = make_plan(cascade, TOPICS, Settings(4, 2, 1, (), "run"))
    first, last = (StageActor(pickle.dumps(CascadeSource(make)), plan, Group("noting", {}), str(Path.cwd()), []) for _ in range(2))
    outcome = last.run(first.run(Task(0, TOPICS.take(parts[0]))))
    assert (outcome.number, outcome.files) == (0, {})
    assert "no answer" in outcome.error
    lost = StageActor(pickle.dumps(CascadeSource(make)), plan, Group("noting", {}), str(tmp_path / "none"), [])
    error = last.run(lost.run(Task(0, TOPICS.take(parts[0]))))
    with pytest.raises(CascadeError, match=r"cannot enter .*none: No such file"):
        raise error


@pytest.mark.parametrize(("needs", "seen"), [({"CPU": 1}, ""), ({"CPU": 1, "GPU": 1}, "0,1")])
def test_a_group_that_asks_for_no_gpu_sees_none(monkeypatch: pytest.MonkeyPatch, needs: dict[str, float], seen: str) -> None:
    """Else its models would load on a card that Ray has given to another."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cascade = plain()
    plan, _ = make_plan(cascade, TOPICS, Settings(24, 5, 1, (), "run"))
    StageActor(b"", plan, Group("unpicklable", needs), str(Path.cwd()), []).start("")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


STAGES = ("bm25", "bi_encoder", "mono_t5", "duo_t5")
GPU = {"num_gpus": 1}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (None, [("duo_t5", {"CPU": 2})]),
        ({"mono_t5": GPU, "duo_t5": GPU}, [("bi_encoder", {"CPU": 2}), ("duo_t5", {"CPU": 2, "GPU": 1})]),
        ({"bi_encoder": GPU}, [("bm25", {"CPU": 2}), ("bi_encoder", {"CPU": 2, "GPU": 1}), ("duo_t5", {"CPU": 2})]),
        ({"bm25": {"num_cpus": 0, "ssd": 1}}, [("bm25", {"ssd": 1}), ("duo_t5", {"CPU": 2})]),
    ],
)
def test_consecutive_stages_with_equal_resources_are_a_group(resources: object, expected: list[object]) -> None:
    """Two threads take two processors where none are named."""
    assert [(group.last, group.needs) for group in group_stages(STAGES, resources, 2)] == expected


def test_resources_that_are_not_valid_are_named_at_once() -> None:
    """A stage that is misspelt, what is no dict, and an amount below 0."""
    given = {"mono-t5": GPU, "bm25": 3, "duo_t5": {"num_gpus": -1}}
    with pytest.raises(CascadeError) as refused:
        group_stages(STAGES, given, 1)
    assert len(refused.value.problems) == 3
    assert "did you mean 'mono_t5'" in str(refused.value)
    with pytest.raises(CascadeError, match="expected a dict by stage name"):
        group_stages(STAGES, ["mono_t5"], 1)


def test_what_the_nodes_have_together_may_not_fit_on_one() -> None:
    """Two nodes of one GPU each hold two workers of one GPU, and no worker of two."""
    nodes = [{"CPU": 8.0, "GPU": 1.0, "node:1": 1.0}, {"CPU": 8.0, "GPU": 1.0, "node:2": 1.0}]
    check_feasible(group_stages(STAGES, {"mono_t5": GPU}, 1), 2, nodes)
    with pytest.raises(CascadeError, match=r"need 1 CPU, 2 GPU on one node.*\n.*2 nodes with 8 CPU, 1 GPU"):
        check_feasible(group_stages(STAGES, {"mono_t5": {"num_gpus": 2}}, 1), 1, nodes)
    with pytest.raises(CascadeError, match=r"3 workers with 3 GPU in all, all nodes have 2 GPU"):
        check_feasible(group_stages(STAGES, {"mono_t5": GPU}, 1), 3, nodes)
