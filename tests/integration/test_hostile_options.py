"""Hostile options: each argument of each public function gives a result, or a CascadeError, for a value of any type."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pytest
from toys.rankers import ToyReranker, ToyRetriever, topics
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc
from pt_cascade import Cascade, ScoreTable, stages
from pt_cascade.analysis.cost.cost import Cost
from pt_cascade.analysis.cost.stage_cost import StageCost
from pt_cascade.collections import make_collection
from pt_cascade.errors import CascadeError

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
VALUES = {
    "an array": np.array([1, 2]),
    "an array without dimension": np.array(5),
    "pd.NA": pd.NA,
    "pd.NaT": pd.NaT,
    "a column": pd.Series([1, 2]),
    "a list": [1],
    "a dict": {"a": 1},
    "an object": object(),
    "a complex number": 1 + 2j,
    "NaN": float("nan"),
    "a huge number": 10**400,
    "bytes": b"x",
    "None": None,
}
PIPELINE, TOPICS = ToyRetriever(docs=8) % 6 >> ToyReranker() % 3, topics(2)
CASCADE = Cascade.of(PIPELINE)
QRELS = pd.DataFrame({"qid": ["q0", "q0", "q1"], "docno": ["d0", "d1", "d0"], "label": [1, 0, 2]})
RUN = CASCADE.transform(TOPICS)
TABLE = ptc.score(PIPELINE, TOPICS)
PRICES = [StageCost("s1"), StageCost("s2", per_pair_ms=1), StageCost("s3", per_pair_ms=9)]
SWEEP = make_sweep(*make_scores(6, 5, 3), cost=PRICES)
COST, DOCS = Cost.of(*PRICES), [{"docno": "d0", "text": "a lion"}, {"docno": "d1", "text": "a bear"}]
COLLECTION = make_collection("small", TOPICS, QRELS, DOCS)
CALLS: dict[str, Callable[..., object]] = {  # with what they need before their options
    "score": partial(ptc.score, PIPELINE, TOPICS),
    "profile": partial(ptc.profile, PIPELINE, TOPICS, repeats=1),
    "run": partial(ptc.run, PIPELINE, TOPICS),
    "Runner": partial(ptc.Runner, CASCADE),
    "compare": partial(ptc.compare, PIPELINE, TOPICS, QRELS, measures=["nDCG@3"], table=TABLE),
    "sweep": partial(ptc.sweep, TABLE, QRELS, ["nDCG@3"]),
    "choose": partial(ptc.choose, SWEEP, "nDCG@10", folds=2),
    "fuse": partial(ptc.fuse, [RUN, RUN]),
    "runs of fuse": lambda runs=None: ptc.fuse(runs),
    "grid": lambda axis=None: ptc.grid([3], axis),
    "StageCost": StageCost,
    "with_cutoffs": lambda cutoff=None: CASCADE.with_cutoffs(cutoff),
    "with_stage": partial(CASCADE.with_stage, 0),
    "a stage by position": lambda position=None: CASCADE[position],
    "a stage in it": lambda stage=None: stage in CASCADE,
    "options": CASCADE.options,
    "prefix": lambda n=None: CASCADE.prefix(n),
    "without": lambda stage=None: CASCADE.without(stage),
    "finish": partial(CASCADE.finish, TABLE),
    "Cascade": lambda stages=None: Cascade(stages),
    "Cascade.of": lambda pipeline=None: Cascade.of(pipeline),
    "replay": partial(TABLE.replay, (3, 2)),
    "cut-offs of replay": lambda cutoffs=None: TABLE.replay(cutoffs),
    "from_runs": partial(ScoreTable.from_runs, {"a": RUN, "b": RUN}),
    "latency": partial(COST.latency, (3, 2, 1)),
    "cut-offs of latency": lambda cutoffs=None: COST.latency(cutoffs),
    "costs": partial(COST.frame, np.array([[3, 2, 1]])),
    "select": lambda names=None: COST.select(names),
    "loss": partial(SWEEP.loss, (3, 2, 1)),
    "recall": SWEEP.recall,
    "per_query": lambda cutoffs=None: SWEEP.per_query(cutoffs),
    "pareto_front": partial(SWEEP.pareto_front, "nDCG@10"),
    "judged": COLLECTION.judged,
    "open_collection": lambda name=None: ptc.open_collection(name),
    "parse_cascade": lambda line=None: ptc.parse_cascade(line, COLLECTION),
    "documents of build_index": lambda docs=None: stages.build_index(docs, "none/none"),
    "build_index": partial(stages.build_index, [], "none/none"),
    "build_vectors": partial(stages.build_vectors, [], "none", "none/none"),
    "hybrid": partial(stages.hybrid, PIPELINE, PIPELINE),
    "cached": partial(stages.cached, ToyReranker(), "none/none", identity="toy"),
    **{name: partial(getattr(stages, name), "none/none") for name in ("bm25", "dense", "bi_encoder", "cross_encoder")},
    **{name: partial(getattr(stages, name), "none/none") for name in ("late_interaction", "mono_t5", "duo_t5", "llm_judge")},
}


def options(call: Callable[..., object]) -> list[str]:
    """Name the arguments that are not given yet; not flags, which are true or false in Python's sense, nor objects of ours."""
    given = set(call.keywords) if isinstance(call, partial) else set()
    optional = {name for name, one in inspect.signature(call).parameters.items() if one.default is not one.empty}
    return sorted((optional | given) - {"verbose", "by_rank", "clock", "table", "timings"})


@pytest.mark.parametrize("function", CALLS)
def test_an_option_of_any_type_gives_a_result_or_a_cascade_error(function: str) -> None:
    """No error of another kind comes out, and each that does says what was found or expected."""
    failures = []
    for name in options(CALLS[function]):
        for case, value in VALUES.items():
            try:
                CALLS[function](**{name: value})
            except CascadeError as error:
                failures += [] if error.problems or error.fix else [f"{name}: {case}: no remedy: {error}"]
            except Exception as error:  # noqa: BLE001 - what must not come out
                failures.append(f"{name}: {case}: {type(error).__name__}: {error}")
    assert failures == []
