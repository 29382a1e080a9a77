"""Timings fitted: for each stage a fixed time and a time a pair or token, and each query's own times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.cost import Cost
from pt_cascade.analysis.cost.sample import Sample, StageTimes
from pt_cascade.analysis.cost.stage_cost import StageCost
from pt_cascade.errors import SweepError
from pt_cascade.numbers import count_of, is_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats

Per: TypeAlias = Literal["pair", "token"]


def fit_cost(frame: pd.DataFrame, per: Per, pairwise: Sequence[str], *, together: bool) -> Cost:
    """Fit each stage's cost to the frame of ``Timings``; see ``Timings.cost``. ``together``: queries were timed together."""
    if not is_word(per, get_args(Per)):
        raise SweepError("the timings cannot be fitted", [f"per is {per!r}, expected one of {', '.join(get_args(Per))}"])
    usd = frame["usd"] if "usd" in frame else pd.Series(np.nan, frame.index)
    frame = frame.assign(
        work=count_pairs(frame, pairwise),
        usd=usd.where(usd.notna().groupby(frame["stage"]).transform("all"), 0.0),
    )
    parts = [part for _, part in frame.groupby("stage", sort=False)]
    _check(parts, per)
    if together:
        parts = [part.groupby(["stage", "repeat", "share"], as_index=False, sort=False).mean(numeric_only=True) for part in parts]
    stages = tuple(
        _fit_stage(name, part, per, first=n == 0, compares=name in pairwise)
        for n, (name, part) in enumerate(zip(frame["stage"].unique(), parts, strict=True))
    )
    return Cost(stages, _sample(frame, stages, together=together))


def count_pairs(frame: pd.DataFrame, pairwise: Sequence[str]) -> Floats:
    """Count the pairs of each row of timings; of n documents a pairwise stage scores n(n - 1)."""
    documents = frame["docs_in"].to_numpy(np.float64)
    counted: Floats = np.where(frame["stage"].isin(pairwise), documents * documents - documents, frame["pairs"])
    return counted


def _check(parts: list[pd.DataFrame], per: Per) -> None:
    """Refuse timings that do not determine the cost."""
    problems, fix = [], ""
    for part in parts[1:]:
        seen = part.loc[part["work"] > 0, "docs_in"]
        if seen.nunique() < 2:  # noqa: PLR2004 - a line needs two points
            given = (
                f"was timed on {count_of(round(seen.iloc[0]), 'document')} every time"
                if len(seen)
                else "was never timed on a document"
            )
            problems.append(f"stage {part['stage'].iloc[0]!r} {given}, expected two or more different numbers, to fit a line")
            fix = "profile(cascade, topics, shares=(1.0, 0.3, 0.1)) with queries that retrieve documents"
    if per == "token" and all(part["tokens"].isna().any() for part in parts[1:]):
        problems.append("per is 'token', but no stage counted its tokens")
        fix = fix or 'timings.cost(per="pair"), or give the stage a method count_tokens(frame)'
    if problems:
        raise SweepError("the timings cannot be fitted", problems, fix=fix)


def _fit_stage(name: str, part: pd.DataFrame, per: Per, *, first: bool, compares: bool) -> StageCost:
    """Fit one stage; a retriever's time is all fixed, and runs without documents do not count."""
    if first:
        return StageCost(name, fixed_ms=float(part["ms"].mean()))
    from scipy.optimize import nnls  # noqa: PLC0415 - loads when first needed

    run = part[part["work"] > 0]
    counted = not run["tokens"].isna().any()
    tokens = float(run["tokens"].sum() / run["work"].sum()) if counted else 0.0
    load = run["tokens"] if per == "token" and counted else run["work"]
    usual = run.groupby("share")["ms"].transform("mean").to_numpy(np.float64)
    weight = 1 / np.where(usual > np.finfo(np.float64).tiny, usual, 1.0)
    scale = float(load.max()) or 1.0  # so that both columns are of one size
    lines = np.column_stack([np.ones(len(run)), load.to_numpy(np.float64) / scale])
    fixed, slope = nnls(lines * weight[:, None], run["ms"].to_numpy(np.float64) * weight)[0]
    slope_of = "per_token_ms" if per == "token" and counted else "per_pair_ms"
    deepest = run[run["share"] == run["share"].max()]
    usd = float(deepest["usd"].sum() / deepest["work"].sum())
    each = 1.0 if compares else float(deepest["work"].sum() / deepest["docs_in"].sum())
    fitted = {"fixed_ms": fixed, slope_of: slope / scale, "tokens_per_pair": tokens, "usd_per_pair": usd}
    fitted["pairs_per_document"] = each
    return StageCost(name, compares=compares, **fitted)


def _sample(frame: pd.DataFrame, stages: tuple[StageCost, ...], *, together: bool) -> Sample:
    """Make a sample in which each (query, repeat) is one row."""
    wide = frame.pivot_table(index=["qid", "repeat"], columns=["stage", "share"], values=["docs_in", "docs_ranked", "ms", "usd"])

    def table(value: str, stage: str) -> Floats:
        values: Floats = wide[value][stage].to_numpy(np.float64)
        return values

    retrieved, queries = table("docs_ranked", stages[0].stage).max(axis=1).astype(np.int64), int(frame["qid"].nunique())
    times, usd = [], []
    for n, stage in enumerate(stages):
        documents, ms = table("docs_in", stage.stage) * (n > 0), table("ms", stage.stage)
        if together:  # each query gets a part of the sum, by its documents
            fitted = np.where((documents >= stage.least) | (n == 0), stage.ms(documents), 0.0)
            ms = fitted * (ms.sum(axis=0) / np.maximum(fitted.sum(axis=0), np.finfo(np.float64).tiny))
        times.append(StageTimes.measured(stage, documents, ms))
        usd.append(StageTimes.measured(stage.price, documents, table("usd", stage.stage)))
    return Sample(retrieved, queries, tuple(times), () if together else tuple(usd), percentiles=not together)
