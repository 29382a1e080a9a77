"""Timings: planted costs are found again, measured times come back as measured, and files are whole or refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pt_cascade import files
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.errors import CascadeError, SweepError, TableError

if TYPE_CHECKING:
    from collections.abc import Callable

FEW = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
SHARES = (1.0, 0.3, 0.1, 0.03)
CUTOFFS = (1000, 100, 10)
PLANTED = {"bm25": (3.0, 0.0), "bi": (5.0, 0.01), "t5": (2.0, 0.5)}


def planted(
    queries: int = 30,
    *,
    repeats: int = 2,
    shares: tuple[float, ...] = SHARES,
    noise: float = 0.0,
    stages: dict[str, tuple[float, float]] = PLANTED,
    per_token: bool = False,
    mode: str = "interactive",
    seed: int = 0,
    least: int = 200,
) -> Timings:
    """Make timings of a fixed time and a time a document (or token), times noise that goes with query and repeat."""
    random, rows = np.random.default_rng(seed), []
    found = random.integers(least, 1500, queries)
    found[0] = 0  # a query that finds nothing
    for qid, repeat in ((q, r) for q in range(queries) for r in range(repeats)):
        for share in shares:
            given = found[qid]
            for n, ((name, (fixed, slope)), k) in enumerate(zip(stages.items(), CUTOFFS, strict=False)):
                inside = given if n else 0
                given = min(given, max(1, round(k * share)))
                tokens = float(inside * random.integers(20, 200))
                load = tokens if per_token else inside
                ms = (fixed + slope * load) * random.lognormal(0, noise) if inside or not n else 0.0
                rows.append((name, f"q{qid}", repeat, share, inside, found[qid] if not n else inside, given, inside, tokens, ms))
    return Timings(pd.DataFrame(rows, columns=list(COLUMNS)), mode, {"cores": "2"})


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 5)), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["interactive", "throughput"]),
)
@settings(max_examples=25)
def test_planted_costs_are_found_again(planted_costs: list[tuple[float, float]], per_token: bool, mode: str) -> None:  # noqa: FBT001
    """Without noise any fixed part and any part a document, or a token, comes out as it went in; a retriever's is all fixed."""
    stages = {name: cost if n else (cost[0], 0.0) for n, (name, cost) in enumerate(zip(PLANTED, planted_costs, strict=False))}
    if per_token and (len(stages) == 1 or mode == "throughput"):
        return
    timings = planted(6, stages=stages, per_token=per_token, mode=mode)
    if mode == "throughput":  # the one query that found nothing is not run: leave it out, as means know nothing of it
        timings = Timings(timings.frame[timings.frame["qid"] != "q0"], "throughput")
    fitted = timings.cost("token" if per_token else "pair").stages
    assert [one.stage for one in fitted] == list(stages)
    for one, (fixed, slope) in zip(fitted, stages.values(), strict=True):
        assert one.fixed_ms == pytest.approx(fixed, rel=1e-6, abs=1e-6)
        assert (one.per_token_ms if per_token else one.per_pair_ms) == pytest.approx(slope, rel=1e-6, abs=1e-6)
        assert (one.per_pair_ms if per_token else one.per_token_ms) == 0


def test_noise_is_averaged_out() -> None:
    """100 queries whose times vary by 20 % give each planted number within 10 %."""
    for one, (fixed, slope) in zip(planted(100, noise=0.2).cost().stages, PLANTED.values(), strict=True):
        assert one.fixed_ms == pytest.approx(fixed * np.exp(0.02), rel=0.1)
        assert one.per_pair_ms == pytest.approx(slope * np.exp(0.02), rel=0.1)


@FEW
@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([0, 1000]))
@settings(max_examples=20)
def test_what_was_measured_comes_back(seed: int, noise: float, least: int) -> None:
    """At the cascade's own cut-offs mean and percentiles are those of the measured sums, however bad the fit."""
    timings = planted(20, repeats=3, noise=noise, seed=seed, least=least)
    sums = timings.frame[timings.frame["share"] == 1].groupby(["qid", "repeat"])["ms"].sum()
    late = timings.cost().latency(CUTOFFS, (50, 95))
    assert late.ms == pytest.approx(sums.mean())
    assert late.joint_ms == pytest.approx(tuple(take_percentiles(sums.to_numpy(), (50, 95))))
    assert timings.summary()["ms"].iloc[-1] == pytest.approx(late.ms)


@FEW
@given(st.integers(0, 1000), st.floats(0, 0.2), st.sampled_from(SHARES))
@settings(max_examples=20)
def test_the_mean_at_each_profiled_depth_is_near_the_measured_one(seed: int, noise: float, share: float) -> None:
    """Two depths differ by more than the noise, so hardly any time is lowered: within 3 % of the mean of that share."""
    stages = {"bm25": (0.0, 0.0), "bi": (5.0, 1.0), "t5": (2.0, 50.0)}
    timings = planted(40, repeats=3, noise=noise, seed=seed, least=1000, stages=stages)
    rows = timings.frame[timings.frame["share"] == share]
    late = timings.cost().latency([max(1, round(k * share)) for k in CUTOFFS], ())
    assert late.ms == pytest.approx(rows.groupby(["qid", "repeat"])["ms"].sum().mean(), rel=0.03)


@FEW
@given(st.data(), st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=40)
def test_no_deeper_vector_takes_less_time(data: st.DataObject, seed: int, noise: float) -> None:
    """Of any two vectors, each cut-off of one at most that of the other: mean and every percentile are at most the other's."""
    timings = planted(20, repeats=2, noise=noise, seed=seed, least=0)
    timings = Timings(timings.frame, pairwise=data.draw(st.sampled_from([(), ("t5",)])))
    cutoffs = st.integers(1, 1200)
    deep = data.draw(st.lists(st.tuples(cutoffs, cutoffs, cutoffs), min_size=1, max_size=20))
    shallow = [tuple(data.draw(st.integers(1, k)) for k in vector) for vector in deep]
    levels = (1, 50, 95, 100)
    more, less = (timings.cost().frame(np.array(vectors), percentiles=levels) for vectors in (deep, shallow))
    for column in more:
        assert (less[column] <= more[column]).all(), column


@FEW
def test_other_depths_follow_the_line() -> None:
    """Without noise any cut-offs, between the profiled ones and beyond, cost what was planted: brute force, query by query."""
    timings = planted(20)
    found = timings.frame[timings.frame["stage"] == "bm25"].groupby("qid")["docs_ranked"].first()
    cost = timings.cost()
    for k1, k2 in ((777, 77), (50, 60), (5, 3), (1400, 350)):
        sums = [3 + (5 + 0.01 * min(n, k1) + 2 + 0.5 * min(n, k1, k2) if n else 0) for n in found]
        late = cost.latency((k1, k2, 5), (50, 95))
        assert late.ms == pytest.approx(np.mean(sums))
        assert late.joint_ms == pytest.approx(tuple(take_percentiles(np.array(sums), (50, 95))))


def test_slow_queries_stay_slow_in_every_stage() -> None:
    """Rows are one query, run once. By hand: of 100 queries 4 are ten times as slow in all stages, so p98 is ten times p50."""
    timings = planted(100, repeats=1, stages={"bm25": (50, 0), "bi": (50, 0.001), "t5": (50, 0.01)})
    slow = timings.frame["qid"].isin([f"q{n}" for n in range(1, 5)])
    cost = Timings(timings.frame.assign(ms=timings.frame["ms"].where(~slow, timings.frame["ms"] * 10))).cost()
    late = cost.latency(CUTOFFS, (50, 98))
    assert late.joint_ms[1] > 9 * late.joint_ms[0]
    assert late.joint_ms[1] <= late.bound_ms[1]


def test_queries_are_counted_once() -> None:
    """Repeats give rows, not queries: 20 queries, 5 times each, are too few for p99, and the message says 20."""
    cost = planted(20, repeats=5).cost()
    assert cost.latency(CUTOFFS).percentiles == (50, 95)
    with pytest.raises(SweepError, match=r"p99 takes 100 queries or more, found 20\."):
        cost.latency(CUTOFFS, (50, 99))


def test_throughput_tells_means_and_no_percentiles() -> None:
    """The mean comes back; percentiles are refused by latency and missing from frame."""
    timings = planted(40, mode="throughput", noise=0.3)
    cost = timings.cost()
    expected = timings.frame[timings.frame["share"] == 1].groupby("stage")["ms"].mean().sum()
    assert cost.latency(CUTOFFS, ()).ms == pytest.approx(expected)
    assert timings.summary()["ms"].iloc[-1] == pytest.approx(expected)
    assert list(cost.frame(np.array([CUTOFFS]))) == ["ms", "pairs"]
    assert cost.latency(CUTOFFS).percentiles == ()
    with pytest.raises(SweepError, match="timed together"):
        cost.latency(CUTOFFS, (95,))


def test_tokens_are_saved() -> None:
    """Also where time goes by documents: tokens over documents, of what was measured."""
    timings = planted(30)
    t5 = timings.frame[timings.frame["stage"] == "t5"]
    cost = timings.cost()
    assert cost.stages[2].tokens_per_pair == pytest.approx(t5["tokens"].sum() / t5["docs_in"].sum())
    untold = Timings(timings.frame.assign(tokens=timings.frame["tokens"].where(timings.frame["stage"] != "t5")))
    assert [one.tokens_per_pair > 0 for one in untold.cost("token").stages] == [False, True, False]
    assert untold.cost("token").stages[2] == untold.cost("pair").stages[2]


def test_a_summary_has_each_stage_and_the_sum() -> None:
    """By hand at the largest share: means, and percentiles of the sums; throughput has no percentiles."""
    timings = planted(20, noise=0.3)
    table = timings.summary()
    assert table["stage"].tolist() == ["bm25", "bi", "t5", "cascade"]
    sums = timings.frame[timings.frame["share"] == 1].groupby(["qid", "repeat"])["ms"].sum().to_numpy()
    last = table.iloc[-1]
    assert (last["ms"], last["p50_ms"]) == (pytest.approx(sums.mean()), pytest.approx(np.sort(sums)[19]))
    assert last["p95_ms"] == pytest.approx(np.sort(sums)[37])
    assert table["ms"].iloc[:3].sum() == pytest.approx(last["ms"])
    assert table["fixed_ms"].iloc[:3].tolist() == [one.fixed_ms for one in timings.cost().stages]
    assert list(planted(20, mode="throughput").summary()) == ["stage", "docs_in", "fixed_ms", "per_pair_ms", "ms"]


def test_timings_say_what_they_are() -> None:
    """The repr is one line."""
    assert repr(planted(20)) == "Timings(bm25, bi, t5: 20 queries, 2 repeats, shares 1, 0.3, 0.1, 0.03, interactive)"


# --- what is refused

GOOD = planted(3, repeats=1, shares=(1.0, 0.5)).frame
ROWS = "these are not timings: "
EARLIER = " repeat the (stage, qid, repeat, share) of an earlier one, expected "
EACH = "one for each of 3 stages, 2 shares and 3 (qid, repeat)"


def spoiled(**columns: object) -> pd.DataFrame:
    """Put a value into the third row of a column."""
    frame = GOOD.copy()
    for name, value in columns.items():
        frame[name] = frame[name].astype(object if isinstance(value, str) else float)
        frame.loc[2, name] = value
    return frame


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "columns": (
        lambda: Timings(GOOD[["stage", "qid", "ms"]]),
        "these are not timings: missing columns: repeat, share, docs_in, docs_ranked, docs_out, pairs, tokens, "
        "found stage, qid, ms",
    ),
    "empty": (lambda: Timings(GOOD.iloc[:0]), "these are not timings: there are no rows"),
    "mode": (
        lambda: Timings(GOOD, "batch"),
        "these are not timings: mode is 'batch', expected one of interactive, throughput",
    ),
    "numbers": (
        lambda: Timings(spoiled(ms=-1, docs_in=1.5, share=np.inf, tokens=-2)),
        "these are not timings:\n  - docs_in is 1.5 in row 2, expected whole numbers, 0 or more\n"
        "  - share is inf in row 2, expected numbers, 0 or more\n  - tokens is -2 in row 2, expected numbers, 0 or more\n"
        "  - ms is -1 in row 2, expected numbers, 0 or more\n"
        "  - 18 rows, of which 0 repeat the (stage, qid, repeat, share) of an earlier one, expected 27, one for each of "
        "3 stages, 3 shares and 3 (qid, repeat)",
    ),
    "text": (lambda: Timings(spoiled(ms="fast")), "these are not timings: ms is object, expected numbers"),
    "twice": (
        lambda: Timings(pd.concat([GOOD, GOOD.head(2)])),
        f"{ROWS}20 rows, of which 2{EARLIER}18, {EACH}",
    ),
    "a row lost": (
        lambda: Timings(GOOD.iloc[1:]),
        f"{ROWS}17 rows, of which 0{EARLIER}18, {EACH}",
    ),
    "a run lost": (
        lambda: Timings(GOOD.iloc[3:]),
        f"{ROWS}15 rows, of which 0{EARLIER}18, {EACH}",
    ),
    "one depth": (
        lambda: Timings(
            GOOD[(GOOD["share"] == 1) & (GOOD["qid"] != "q0")].assign(docs_in=lambda rows: 10 * (rows["stage"] != "bm25"))
        ).cost(),
        "the timings cannot be fitted:\n"
        "  - stage 'bi' was timed on 10 documents every time, expected two or more different numbers, to fit a line\n"
        "  - stage 't5' was timed on 10 documents every time, expected two or more different numbers, to fit a line\n"
        "Fix: profile(cascade, topics, shares=(1.0, 0.3, 0.1)) with queries that retrieve documents",
    ),
    "nothing found": (
        lambda: Timings(GOOD[(GOOD["qid"] == "q0") & (GOOD["stage"] != "t5")]).cost(),
        "the timings cannot be fitted: stage 'bi' was never timed on a document, "
        "expected two or more different numbers, to fit a line. Fix: profile(cascade, topics, shares=(1.0, "
        "0.3, 0.1)) with queries that retrieve documents",
    ),
    "no tokens": (
        lambda: Timings(GOOD.assign(tokens=np.nan)).cost("token"),
        "the timings cannot be fitted: per is 'token', but no stage counted its tokens. "
        'Fix: timings.cost(per="pair"), or give the stage a method count_tokens(frame)',
    ),
    "per": (lambda: Timings(GOOD).cost("page"), "the timings cannot be fitted: per is 'page', expected one of pair, token"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused(case: str) -> None:
    """Each with its exact message, all reasons at once."""
    make, message = BAD[case]
    with pytest.raises(CascadeError) as error:
        make()
    assert str(error.value) == message


# --- files


@given(st.integers(1, 5), st.integers(1, 3), st.sampled_from(["interactive", "throughput"]), st.dictionaries(st.text(), st.text()))
@settings(max_examples=15)
def test_reading_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, queries: int, repeats: int, mode: str, machine: dict[str, str]
) -> None:
    """Every value to the last bit, the order, the mode, the machine; written over an older file, nothing else left."""
    path = tmp_path_factory.mktemp("timings") / "timings.parquet"
    path.write_text("old")
    frame = planted(queries, repeats=repeats, noise=0.4).frame
    Timings(frame.assign(qid="ü" + frame["qid"]), mode, machine).save(path)
    back = Timings.load(path)
    pd.testing.assert_frame_equal(
        back.frame.astype({"stage": object, "qid": object}),
        frame.assign(qid="ü" + frame["qid"]).astype({"stage": object, "qid": object}),
    )
    assert (back.mode, back.machine) == (mode, machine)
    assert [file.name for file in path.parent.iterdir()] == ["timings.parquet"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle: the older timings are still there, whole, and nothing beside them."""
    path = tmp_path / "timings.parquet"
    planted(3).save(path)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(CascadeError, match=r"timings.parquet: OSError: No space left on device. Fix: free some"):
        planted(9).save(path)
    assert Timings.load(path).queries == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of timings."""
    path = tmp_path_factory.mktemp("timings") / "timings.parquet"
    planted(4, noise=0.1).save(path)
    return path.read_bytes()


@given(st.data())
@settings(max_examples=60)
def test_a_damaged_file_is_refused(written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere: refused. One bit turned anywhere: refused, or the frame is what was written."""
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    place = data.draw(st.integers(0, len(written) - 1))
    path.write_bytes(written[:place])
    with pytest.raises(TableError, match=r"^cannot read the timings of .*damaged"):
        Timings.load(path)
    turned = bytearray(written)
    turned[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(turned)
    try:
        read = Timings.load(path)
    except TableError:
        return
    path.write_bytes(written)
    pd.testing.assert_frame_equal(read.frame, Timings.load(path).frame)


def test_a_foreign_file_is_reported(tmp_path: Path) -> None:
    """Each with its exact message: text, another parquet, a folder, nothing."""
    fix = "Fix: profile again, or copy the file again"
    path = tmp_path / "foreign.parquet"
    table = pa.Table.from_pandas(GOOD, preserve_index=False)
    about = {"pairwise": [], "mode": "interactive", "machine": {}}
    sealed = json.dumps({**about, "sha256": "0" * 64})
    cases = {
        "Timings.save did not write this Parquet file": table,
        "it is damaged: its content does not match its checksum": table.replace_schema_metadata({"pt_cascade.timings": sealed}),
    }
    for problem, foreign in cases.items():
        parquet.write_table(foreign, path)
        with pytest.raises(TableError) as error:
            Timings.load(path)
        assert str(error.value) == f"cannot read the timings of {path}: {problem}. {fix}"
    text = f"{json.dumps(about, sort_keys=True)}\n{GOOD.iloc[1:].to_csv(index=False)}"
    told = json.dumps({**about, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    parquet.write_table(table.slice(1).replace_schema_metadata({"pt_cascade.timings": told}), path)
    with pytest.raises(TableError) as error:
        Timings.load(path)
    assert str(error.value) == f"cannot read the timings of {path}: 17 rows, of which 0{EARLIER}18, {EACH}"
    path.write_text("qid,docno,score\n")
    with pytest.raises(TableError, match=r"it is damaged, or not a Parquet file: .*magic bytes not found"):
        Timings.load(path)
    with pytest.raises(CascadeError) as error:
        Timings.load(tmp_path)
    assert str(error.value).startswith(f"cannot read '{tmp_path}': it is a folder, expected a file. Fix:")
    with pytest.raises(CascadeError) as error:
        Timings.load(tmp_path / "none")
    assert str(error.value) == f"there is no file {tmp_path / 'none'}. Fix: timings.save(path), or pt-cascade profile --out FILE"
    with pytest.raises(CascadeError) as error:
        planted(2).save(tmp_path / "none" / "t.parquet")
    folder = tmp_path / "none"
    assert str(error.value) == f"cannot write {folder / 't.parquet'}: its folder does not exist. Fix: mkdir -p {folder}"
