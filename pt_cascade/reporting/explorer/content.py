"""What the page's script works on: the rows of a sweep, their costs, and the orders of the stages, to replay queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pt_cascade.analysis.cost.sample import sample_from_counts
from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.replay.measures import compute_norms, encode, in_kernel
from pt_cascade.analysis.replay.replay import read_scores
from pt_cascade.analysis.table.tie_rules import number_docnos
from pt_cascade.reporting.explorer.packing import pack, pack_words
from pt_cascade.reporting.explorer.recipes import write_fusion
from pt_cascade.reporting.rows import check_choice, describe_cost, find_budget, find_row, read_costs, read_level

if TYPE_CHECKING:
    from pt_cascade.analysis.calibration.report import CalibrationReport
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.cost.sample import StageTimes
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

    Content = dict[str, Any]

_WIDE = 20  # costs that differ by this factor are on a logarithmic axis
_ERRORS = ("ECE", "Brier", "log loss")
_NAMED = 100  # documents of each stage whose docno is in the page, and all judged ones


def collect_content(sweep: Sweep, choice: Choice, calibration: CalibrationReport | None = None) -> Content:
    """Return all that the page shows, as JSON with packed arrays; see ``explorer.js`` for how it is read."""
    check_choice(sweep, choice)
    column, limit = find_budget(sweep, choice)
    costs = read_costs(sweep, column)
    low, high = float(costs.min()), float(costs.max())
    return {
        "stages": list(sweep.stages),
        "measures": _order_measures(sweep, choice),
        "axes": _list_axes(sweep),
        "rows": {
            "axes": pack(_index_axes(sweep)),
            "values": pack(sweep.means.T.astype(np.float32)),
            "cost": pack(costs.astype(np.float32)),
            "allowed": _find_allowed(sweep, choice, column),
        },
        "cost": {"column": column, "limit": limit, "log": low > 0 and high / low > _WIDE, **describe_cost(column)},
        "chosen": find_row(sweep, choice.cutoffs, choice.fusion),
        "picked": find_row(sweep, choice.picked, choice.picked_fusion),
        "deepest": sweep.deepest,
        "fusions": [_describe_fusion(sweep, fusion) for fusion in sweep.fusions or (None,)],
        "fused": {
            "names": pack_words(["" if fusion is None else str(fusion) for fusion in sweep.fusions or (None,)]),
            "calls": pack_words(["" if fusion is None else write_fusion(fusion, ".fused") for fusion in sweep.fusions or (None,)]),
        },
        "byRank": sweep.replayer.by_rank,
        "keep": sweep.replayer.tail == "keep",
        "rel": choice.rel,
        "plateaus": [{"k": one.k, "reached": one.k < one.deepest} for one in choice.plateaus],
        "queries": _collect_queries(sweep, choice.rel),
        "latency": _collect_latency(sweep, column),
        "calibration": None if calibration is None else _collect_calibration(calibration),
    }


def _find_allowed(sweep: Sweep, choice: Choice, column: str) -> Content | None:
    """Tell which rows keep a second limit of the budget, of money, where the page shows the time; None without."""
    limit = choice.budget.usd
    return None if limit is None or column == "usd" else pack((read_costs(sweep, "usd") <= limit).astype(np.uint8))


def _order_measures(sweep: Sweep, choice: Choice) -> list[Content]:
    """Describe the measures: the name, its place among the values, and how the script computes it for one query."""
    inside = [measure for measure in sweep.replayer.measures if in_kernel(measure)]
    codes = {str(measure): code for measure, code in zip(inside, encode(inside).tolist(), strict=True)}
    order = list(codes)
    named = [
        {"name": name, "at": at, "code": codes.get(name), "norm": order.index(name) if name in codes else -1}
        for at, name in enumerate(sweep.measures)
    ]
    return sorted(named, key=lambda one: one["name"] != choice.measure)


def _list_axes(sweep: Sweep) -> list[Content]:
    """List the cut-offs of each stage, and the weights of each stage where they are swept; None: no cut, or not fused."""
    vectors = sweep.grid.vectors
    cutoffs = [
        {"name": f"k{n}", "stage": stage, "values": [None if k == NO_CUT else int(k) for k in np.unique(column)]}
        for n, (stage, column) in enumerate(zip(sweep.stages, vectors.T, strict=True), 1)
    ]
    weights = _read_weights(sweep)
    return cutoffs + [
        {"name": f"w{n}", "stage": stage, "values": [None if np.isnan(one) else float(one) for one in np.unique(column)]}
        for n, (stage, column) in enumerate(zip(sweep.stages, weights.T, strict=True), 1)
        if len(weights)
    ]


def _read_weights(sweep: Sweep) -> Floats:
    """Return the weights of each fusion, shape (fusions, stages), NaN for none."""
    weights = [np.full(len(sweep.stages), np.nan) if one is None else one.weigh(sweep.stages) for one in sweep.fusions]
    return np.array(weights).reshape(-1, len(sweep.stages))


def _index_axes(sweep: Sweep) -> Ints:
    """Give each row's position on each axis, shape (axes, rows), and last the number of its fusion."""
    rows, weights = sweep.rows, _read_weights(sweep)
    number = rows[:, -1] if len(weights) else np.zeros(len(rows), np.int64)
    columns = [*rows.T[: len(sweep.stages)], *weights[number].T] if len(weights) else [*rows.T[: len(sweep.stages)]]
    return np.stack([*(np.unique(column, return_inverse=True)[1] for column in columns), number]).astype(np.int64)


def _describe_fusion(sweep: Sweep, fusion: StageFusion | None) -> Content | None:
    """Give the weight of each stage and the rule, None for the last stage's own ranking."""
    if fusion is None:
        return None
    weights = fusion.weigh(sweep.stages).tolist()
    return {"weights": weights, "method": fusion.method, "normalise": fusion.normalise, "k": float(fusion.k)}


def _collect_scores(sweep: Sweep, at: Ints) -> Content:
    """Give what a fusion ranks the documents of the last stage by, scores and the order of docnos; nothing without fusions."""
    if not any(sweep.fusions):
        return {}
    rankings, table = sweep.replayer.rankings, sweep.table
    scored = rankings.places[-1, at] >= 0
    scores = np.where(scored, read_scores(table, sweep.stages)[:, rankings.rows[at]], 0.0)
    return {"scores": pack(scores), "names": pack(np.where(scored, number_docnos(table.frame["docno"])[rankings.rows[at]], 0))}


def _collect_queries(sweep: Sweep, rel: int) -> Content:
    """Give the judged queries, and each stage's order of their documents: a place from 1, 0 where not scored."""
    replayer = sweep.replayer
    rankings, judged, topics = replayer.rankings, replayer.judged, sweep.table.topics
    spans = [np.arange(rankings.offsets[query], rankings.offsets[query + 1]) for query in judged.queries]
    at = np.concatenate(spans) if spans else np.zeros(0, np.int64)
    places, labels = rankings.places[:, at], replayer.labels[at]
    inside = encode([measure for measure in replayer.measures if in_kernel(measure)])
    named = np.flatnonzero((labels > np.iinfo(np.int32).min) | ((places >= 0) & (places < _NAMED)).any(axis=0))
    return {
        "qids": pack_words(sweep.qids),
        "texts": pack_words([str(text) for text in topics["query"].iloc[judged.queries]]),
        "sizes": pack(np.array([len(span) for span in spans], np.int64)),
        "places": pack(places + 1),
        "shifts": pack(rankings.evaluated[:, at] - places[-1]),  # 0 but where scores tie
        "labels": pack(labels),
        "relevant": pack(np.array([np.count_nonzero(grades >= rel) for grades in judged.relevant], np.int64)),
        "norms": pack(compute_norms(inside, judged, len(topics))[:, judged.queries]),
        **_collect_scores(sweep, at),
        "named": pack(named),
        "docnos": pack_words(sweep.table.frame["docno"].to_numpy(object)[rankings.rows[at[named]]].tolist()),
    }


def _collect_latency(sweep: Sweep, column: str) -> Content | None:
    """Give what the time of each timed query is computed from, as ``Cost`` does; None where single queries' times are not known."""
    cost = sweep.cost
    if cost is None or (cost.sample is not None and not cost.sample.percentiles):
        return None
    sample = cost.sample or sample_from_counts(sweep.table.retrieved[sweep.replayer.judged.queries])
    stages = []
    for n, stage in enumerate(cost.stages):
        each = stage.per_pair_ms + stage.per_token_ms * stage.tokens_per_pair
        told = {"fixed": stage.fixed_ms, "each": each, "pairs": stage.pairs_per_document, "compares": stage.compares}
        stages.append({"stage": stage.stage, **told, **_pack_times(sample.times[n] if sample.times else None)})
    level = read_level(column) or (95.0 if "p95_ms" in sweep.frame else None)
    return {"retrieved": pack(sample.retrieved), "queries": sample.queries, "level": level, "stages": stages}


def _pack_times(times: StageTimes | None) -> Content:
    """Pack the measured times of a stage, shape (rows, depths) each; nothing for a cost given by hand."""
    return {} if times is None else {"depths": times.documents.shape[1], "documents": pack(times.documents), "ms": pack(times.ms)}


def _collect_calibration(report: CalibrationReport) -> Content:
    """Give the reliability curve and the measures of each method; the first is before calibration."""
    methods = []
    for name, measures in report.frame.groupby("method", sort=False):
        bins = report.curve[report.curve["method"] == name]
        curve = dict(
            zip(("x", "y", "low", "high"), bins[["probability", "relevant", "low", "high"]].to_numpy().T.tolist(), strict=True)
        )
        told = measures[measures["measure"].isin(_ERRORS)]
        methods.append({"name": name, "curve": curve, "measures": told[["measure", "value", "low", "high"]].to_numpy().tolist()})
    return {"about": report.about, "methods": methods}
