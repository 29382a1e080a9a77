"""The commands sweep and choose, and how a terminal shows sweeps and choices."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path as File

import ir_measures
import numpy as np
import pandas as pd
import pytest
from toys.folders import write_folder

import pt_cascade as ptc
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.cli import main
from pt_cascade.collections.collection import make_collection
from pt_cascade.commands.sources import describe
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.reporting.sweeps import front_table, loss_table, recall_table, runners_up_table, top_table
from pt_cascade.reporting.tables import format_table
from pt_cascade.reporting.widths import line_width, wrap

STAGES = ("bm25", "bi", "t5")


def make_table(queries: int = 12, documents: int = 30) -> tuple[ScoreTable, pd.DataFrame]:
    """Synthetic scores in which each later stage sees the relevant documents better, and their judgments."""
    rng = np.random.default_rng(1)
    qid, doc = np.repeat(np.arange(queries), documents), np.tile(np.arange(documents), queries)
    relevant = rng.random(len(qid)) < 0.15
    frame = pd.DataFrame({"qid": qid.astype(str), "docno": [f"d{n}" for n in doc]})
    for stage, noise in zip(STAGES, (2.0, 1.0, 0.5), strict=True):
        frame[stage] = relevant + noise * rng.standard_normal(len(qid))
    frame["rank"] = frame.groupby("qid")["bm25"].rank(ascending=False).astype(int) - 1
    topics = pd.DataFrame({"qid": [str(n) for n in range(queries)], "query": "q"})
    path = Path(STAGES, (30, 20, 10), (30, 20))
    table = ScoreTable(frame, topics, tuple(map(Column, STAGES)), (path,), about={"collection": "made up"})
    return table, frame.loc[relevant, ["qid", "docno"]].assign(label=1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[File, File]:
    """A table and its judgments on the disk."""
    folder = tmp_path_factory.mktemp("sweep")
    table, qrels = make_table()
    table.save(folder / "table")
    ptc.trec.write_qrels(qrels, folder / "qrels.txt")
    return folder / "table", folder / "qrels.txt"


@pytest.fixture(scope="module")
def sweep() -> ptc.Sweep:
    """The sweep that the commands make of it, with costs by hand."""
    table, qrels = make_table()
    cost = [ptc.StageCost("bm25", fixed_ms=1), ptc.StageCost("bi", per_pair_ms=0.5), ptc.StageCost("t5", per_pair_ms=5)]
    return ptc.sweep(table, qrels, ["nDCG@10", "R@100"], cost)


COSTS = ["--costs", "bm25=1", "bi=0.5", "t5=5"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_sweep_shows_the_front_and_writes_every_vector(
    suffix: str, saved: tuple[File, File], sweep: ptc.Sweep, tmp_path: File, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recall, the best vector, the front and the losses are those of the same sweep in Python; the file holds its frame."""
    table, qrels = saved
    out = tmp_path / f"all{suffix}"
    assert main(["sweep", str(table), "--qrels", str(qrels), *COSTS, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    front = sweep.pareto_front("nDCG@10")
    for part in (describe(sweep.table), repr(sweep), recall_table(sweep), top_table(sweep, "nDCG@10"), loss_table(sweep)):
        assert part in told
    assert front_table(sweep, front, "nDCG@10") in told
    written = pd.read_parquet(out) if suffix == ".parquet" else pd.read_csv(out)
    pd.testing.assert_frame_equal(written, sweep.frame, check_dtype=False)


def test_judgments_of_another_collection_are_refused(tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    """Two collections number their queries and documents alike, as CISI and MED do; the cure that is printed works."""
    queries = {"cisi": ["automatic indexing", "information science"], "med": ["lens crystalline protein", "renal amyloidosis"]}
    for name, texts in queries.items():
        documents = [{"docno": f"{n}", "text": text} for n, text in enumerate(texts, 1)]
        topics = pd.DataFrame({"qid": ["1", "2"], "query": texts})
        qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["1", "2"], "label": 1})
        write_folder(make_collection(name, topics, qrels, documents), tmp_path / name)
    cisi = ptc.open_collection(tmp_path / "cisi")
    found = pd.DataFrame({"qid": [*"1122"], "docno": [*"1212"], "rank": [0, 1, 1, 0], "bm25": [2.0, 1.0, 1.0, 2.0]})
    about = {"collection": cisi.name}
    ScoreTable(found, cisi.topics, (Column("bm25"),), (Path(("bm25",), (None,)),), about=about).save(tmp_path / "table")
    words = ["sweep", str(tmp_path / "table"), "--measures", "RR", "--collection"]
    assert main([*words, str(tmp_path / "med")]) != 0
    told = capsys.readouterr().err
    found = "qid '1' is 'automatic indexing' in the table and 'lens crystalline protein' in the topics"
    assert f"the topics are of another collection than the table: 2 of 2 queries differ, e.g. {found}" in told
    words[-1:] = shlex.split(told.rpartition("Fix: ")[2])
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "--k4", "10"], "--k4 is given, expected --k1 to --k3 of the stages bm25, bi, t5. Fix: --k3 10,100"),
        (["sweep", "--measures", "nDGC@10"], "nDGC@10"),
        (["sweep", "--fused", "bi"], "'bi' is not STAGE=WEIGHT"),
        (["sweep", "--weights", "0.3"], "0.3, expected 1 divided by a whole number up to 1,000"),
        (["choose", "--method", "budget"], "--method budget needs --budget-ms or --budget-usd. Fix: --budget-ms 50"),
        (["choose", "--margin", "2"], "argument --margin: '2' is not a number above 0 and below 1"),
        (["choose", "--alpha", "0.5"], "argument --alpha: '0.5' is not a number above 0 and below 0.5"),
        (["choose", "--percentile", "101"], "argument --percentile: '101' is not a number from 1 to 100, or 0 for the mean"),
        (["choose", "--budget-ms", "nan"], "argument --budget-ms: 'nan' is not a number above 0"),
        (["choose", "--budget-usd", "-1"], "argument --budget-usd: '-1' is not a number above 0"),
        (["choose", "--folds", "1"], "argument --folds: '1' is not a whole number, 2 or more"),
        (["choose", "--seed", "-1"], "argument --seed: '-1' is not a whole number, 0 or more"),
        (["report", "--folds", "two"], "argument --folds: 'two' is not a whole number, 2 or more"),
    ],
)
def test_an_option_is_refused_before_the_collection_is_opened(
    words: list[str], said: str, saved: tuple[File, File], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two faults the one that costs no wait is named; the collection is not looked for."""
    command, *options = words
    try:
        code = main([command, str(saved[0]), "--collection", "./nowhere", *options])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) in ((1, ""), (2, ""))
    assert said in " ".join(err.split())
    assert "nowhere" not in err


def test_choose_explains_the_same_choice_as_python(
    saved: tuple[File, File], sweep: ptc.Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its words and its runners-up are those of choose()."""
    table, qrels = saved
    assert main(["choose", str(table), "--qrels", str(qrels), *COSTS, "--budget-ms", "60", "--folds", "3", "--seed", "4"]) == 0
    told = capsys.readouterr().out
    choice = ptc.choose(sweep, "nDCG@10", budget_ms=60, folds=3, seed=4)
    assert choice.explain(width=line_width()) in told
    assert runners_up_table(choice) in told
    assert choice.explain().splitlines()[0].split(" ")[0] in {"Ship", "Keep", "Cannot"}


def test_sweep_without_costs_shows_no_front(saved: tuple[File, File], capsys: pytest.CaptureFixture[str]) -> None:
    """Measures alone need no cost; another path and tail are taken."""
    table, qrels = saved
    assert main(["sweep", str(table), "--qrels", str(qrels), "--stages", "bm25", "t5", "--tail", "keep", "--measures", "RR"]) == 0
    told = capsys.readouterr().out
    assert "of bm25 → t5; RR; 12 queries)" in told
    assert "Pareto front" not in told


def test_the_front_is_thinned_from_end_to_end(sweep: ptc.Sweep) -> None:
    """At most twelve rows, the first and the last of the front among them, in order of cost."""
    front = sweep.pareto_front("nDCG@10")
    lines = front_table(sweep, front, "nDCG@10").splitlines()
    shown = [float(re.search(r"(\d\.\d{4})", line)[1]) for line in lines[2:]]
    assert len(shown) <= 12
    assert shown == sorted(shown)
    assert shown[0] == pytest.approx(front["nDCG@10"].iloc[0], abs=5e-5)
    assert shown[-1] == pytest.approx(front["nDCG@10"].iloc[-1], abs=5e-5)


def test_losses_add_up_in_the_table(sweep: ptc.Sweep) -> None:
    """What is lost and what is left are the relevant documents."""
    loss = sweep.loss((20, 10, 5))
    assert loss["recall"].iloc[-1] == pytest.approx(1 - loss["lost_recall"].sum())
    assert loss_table(sweep).startswith("at (30, 20, 10)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--costs", "bi=0.5"], "--costs are not valid: stage 't5' has no cost. Fix: --costs bi=0.05 t5=0.05"),
        (
            ["--costs", "bi_=0.5", "bi=0.5", "t5=5"],
            "--costs are not valid: there is no stage 'bi_'; the stages are bm25, bi, t5; did you mean 'bi'?"
            " Fix: --costs bi=0.05 t5=0.05",
        ),
        (
            ["--costs", "bi=fast", "t5=5"],
            "--costs are not valid: 'bi=fast' is not STAGE=MS. Fix: --costs bi=0.05 t5=0.05",
        ),
        (["--costs", "bi=-1", "t5=5"], "--costs are not valid: 'bi=-1' is not STAGE=MS. Fix: --costs bi=0.05 t5=0.05"),
        (["--costs", "bi=nan", "t5=5"], "--costs are not valid: 'bi=nan' is not STAGE=MS. Fix: --costs bi=0.05 t5=0.05"),
        (
            ["--costs", "bi=1e400", "t5=5"],
            "--costs are not valid: 'bi=1e400' is not STAGE=MS. Fix: --costs bi=0.05 t5=0.05",
        ),
        (["--out", "all.xls"], "the vectors cannot be written: all.xls is neither .csv nor .parquet. Fix: --out sweep.csv"),
        (
            ["--stages", "bi", "t5"],
            "the table has no cascade bi → t5: its stages are bm25, bi, t5; every cascade begins with 'bm25'",
        ),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    words: list[str], said: str, saved: tuple[File, File], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, the whole message, no traceback."""
    table, qrels = saved
    assert main(["sweep", str(table), "--qrels", str(qrels), *words]) == 1
    assert capsys.readouterr().err == f"pt-cascade sweep: {said}\n"


def test_a_file_may_be_a_link_and_a_folder_may_have_the_name_of_the_default(
    saved: tuple[File, File], sweep: ptc.Sweep, tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that is given decides the format; without ``--out`` nothing is written, so no name is checked."""
    monkeypatch.chdir(tmp_path)
    File("sweep.csv").mkdir()
    File("all.csv").symlink_to("data")
    words = ["sweep", str(saved[0]), "--qrels", str(saved[1]), *COSTS]
    assert main(words) == 0
    assert main([*words, "--out", "all.csv"]) == 0
    assert len(pd.read_csv("data")) == len(sweep.frame)


def test_warnings_come_without_their_line_of_code(saved: tuple[File, File], capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is one line on standard error, and the command goes on."""
    import warnings

    qrels = saved[1].parent / "none.txt"
    qrels.write_text("".join(f"{line.rpartition(' ')[0]} 0\n" for line in saved[1].read_text().splitlines()))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["choose", str(saved[0]), "--qrels", str(qrels), *COSTS, "--budget-ms", "60", "--folds", "3"]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("pt-cascade: ")
    assert len(told.err.splitlines()) == len({*told.err.splitlines()})
    assert ".py" not in told.err


@pytest.mark.parametrize(
    ("words", "grid"),
    [
        (["--k1", "10,20", "--k2", "5,10", "--k3", "5"], {"k1": [10, 20], "k2": [5, 10], "k3": [5]}),
        (["--k2", "3,10"], {"k2": [3, 10]}),
        (["--k3=none,5"], {"k3": [None, 5]}),
        (["--grid", "log"], "log"),
        (["--grid", "full"], "full"),
    ],
)
def test_a_grid_is_that_of_python(
    words: list[str], grid: object, saved: tuple[File, File], tmp_path: File, sweep: ptc.Sweep
) -> None:
    """The vectors that are written are those of the same grid in Python."""
    table, qrels = saved
    assert (
        main(["sweep", str(table), "--qrels", str(qrels), "--measures", "RR", *words, "--out", str(tmp_path / "all.parquet")]) == 0
    )
    wanted = ptc.sweep(sweep.table, ptc.trec.read_qrels(qrels), ["RR"], grid=grid).frame
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "all.parquet"), wanted, check_dtype=False)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["--grid", "log", "--k1", "10"],
            "--grid and --k1 are given, expected one or the other. Fix: --k1 10,100,1000 --k2 10,100",
        ),
        (["--rel", "9"], "no judged document has a label of 9 or more. Fix: --rel 1"),
        (["--costs", "bi=1", "t5=2", "bi=3"], "stage 'bi' is repeated"),
    ],
)
def test_what_contradicts_itself_is_refused(
    words: list[str], problem: str, saved: tuple[File, File], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two grids, a label that no document has, a cost given twice: status 1."""
    assert main(["sweep", str(saved[0]), "--qrels", str(saved[1]), *words]) == 1
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", "10,", "a", "10 20", "-1", "1.5", "0"])
def test_a_list_of_cut_offs_is_checked(value: str, saved: tuple[File, File], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, with an example that works (``test_a_grid_is_that_of_python``)."""
    with pytest.raises(SystemExit):
        main(["sweep", str(saved[0]), "--qrels", str(saved[1]), f"--k1={value}"])
    assert f"argument --k1: {value!r} is not a list such as 10,20,50 or 10,none" in capsys.readouterr().err


def test_the_level_of_relevance_is_shown(tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    """Golden: by hand, grade 1 at rank 1 and grade 2 at rank 6: of the first five none has grade 2, half of all have 1 or 2."""
    run, qrels = tmp_path / "bm25.res", tmp_path / "graded.txt"
    run.write_text("".join(f"1 Q0 d{n} {n + 1} {9 - n}.0 x\n" for n in range(6)))
    qrels.write_text("1 0 d0 1\n1 0 d5 2\n")
    table = str(tmp_path / "graded")
    assert main(["score", "--runs", f"bm25={run}", "--out", table]) == 0
    capsys.readouterr()
    for words, heading, recall in [
        (["--measures", "R(rel=2)@5"], "recall (rel=2) of", "0.000"),
        (["--measures", "R@5"], "recall of", "0.500"),
        (["--measures", "R@5", "--rel", "2"], "recall (rel=2) of", "0.000"),
    ]:
        assert main(["sweep", table, "--qrels", str(qrels), *words]) == 0
        told = capsys.readouterr().out
        assert re.search(rf"^{re.escape(heading)} +@5$\nbm25 +{recall}$", told, flags=re.MULTILINE), told


def test_a_fusion_of_the_command_line_is_that_of_the_sweep(saved: tuple[File, File], capsys: pytest.CaptureFixture[str]) -> None:
    """--fused ranks by the given weights, --weights by all; what is wrong is named with a cure that works."""
    table, qrels = make_table()
    words = [str(saved[0]), "--qrels", str(saved[1])]
    assert main(["sweep", *words, "--measures", "nDCG@10", "--fused", "bm25=1", "t5=3"]) == 0
    swept = ptc.sweep(table, qrels, ["nDCG@10"], fusion=ptc.StageFusion({"bm25": 1, "t5": 3}))
    out = capsys.readouterr().out
    assert f"{swept!r}\n" in out
    assert re.search(rf"fused\(0.25, 0, 0.75\) → 10 +{swept.frame['nDCG@10'].iloc[-1]:.4f}", out)
    assert "ordered by the fusion" in out
    assert main(["choose", *words, "--weights", "0.5"]) == 0
    assert "× 7 fusions of bm25" in capsys.readouterr().out
    assert main(["sweep", *words, "--fused", "bm52=1"]) == 1
    assert "did you mean 'bm25'?" in capsys.readouterr().err
    assert main(["sweep", *words, "--fused", "bm25=x"]) == 1
    assert "'bm25=x' is not STAGE=WEIGHT" in capsys.readouterr().err


def test_a_verdict_names_stage_1_where_it_is_better_alone() -> None:
    """A cascade whose later stages turn the ranking round is not shipped without a word on that."""
    table, qrels = make_table()
    worse = table.frame.assign(bm25=table.frame["t5"], bi=-table.frame["t5"], t5=-table.frame["t5"])
    worse["rank"] = worse.groupby("qid")["bm25"].rank(ascending=False).astype(int) - 1
    swept = ptc.sweep(ScoreTable(worse, table.topics, table.columns, table.paths), qrels, ["nDCG@10"])
    said = ptc.choose(swept, "nDCG@10").explain()
    assert re.search(r"^  Against bm25 alone: bm25 alone is better: -0\.\d+ \[", said, re.MULTILINE)


def test_a_certified_vector_shows_its_own_figure() -> None:
    """Its mean on the queries that certify it, not that of what the folds kept."""
    table, qrels = make_table(queries=100)
    table = ScoreTable(table.frame.assign(bi=table.frame["t5"]), table.topics, table.columns, table.paths)
    swept = ptc.sweep(table, qrels, ["nDCG@10"])
    choice = ptc.choose(swept, "nDCG@10", method="certified", margin=0.3)
    assert choice.verdict.decision == "ship"
    own = swept.per_query(choice.cutoffs)["nDCG@10"].mean()
    assert choice.used.mean == pytest.approx(own)
    assert f"nDCG@10: {own:.4f} [" in choice.explain()


def test_last_stages_without_weight_can_go() -> None:
    """Named with the cascade without them and its measure: golden, ir_measures on the first ten documents of stage 1."""
    table, qrels = make_table()
    swept = ptc.sweep(table, qrels, ["nDCG@10"], fusion=ptc.StageFusion({"bm25": 1}))
    choice = ptc.choose(swept, "nDCG@10", folds=2)
    run = table.frame[table.frame["rank"] < 10].rename(columns={"qid": "query_id", "docno": "doc_id", "bm25": "score"})
    judged = qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    mean = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], judged, run[["query_id", "doc_id", "score"]])[ir_measures.nDCG @ 10]
    assert choice.unused == f"bi and t5 have weight 0 and can go: bm25 → 10 has nDCG@10 {mean:.4f}"
    assert choice.unused in " ".join(choice.explain().split())
    swept = ptc.sweep(table, qrels, ["nDCG@10"], fusion=ptc.StageFusion({"bm25": 1, "bi": 1}))
    unused = ptc.choose(swept, "nDCG@10", folds=2).unused
    assert re.fullmatch(
        r"t5 has weight 0 and can go: bm25 → 30 · bi · fused\(bm25=0.5, bi=0.5\) → 10 has nDCG@10 0\.[0-9]{4}", unused
    )
    swept = ptc.sweep(table, qrels, ["nDCG@10"], fusion=ptc.StageFusion({"bm25": 1, "t5": 1}))
    assert not ptc.choose(swept, "nDCG@10", folds=2).unused


def test_a_reference_and_details_are_options(saved: tuple[File, File], capsys: pytest.CaptureFixture[str]) -> None:
    """The reference is kept where nothing cheaper is shown; one outside the grid is refused with the nearest, which works."""
    words = ["choose", str(saved[0]), "--qrels", str(saved[1]), "--folds", "2"]
    assert main([*words, "--reference", "9,8,8", "--details"]) == 0
    told = capsys.readouterr().out
    assert "Keep bm25 → 9 · bi → 8 · t5 → 8" in told
    assert "\nDetails\n" in told
    assert "--method certified, as in quickstart, bounds the loss of nDCG@10" in told
    assert main([*words, "--grid", "log", "--reference", "29,20,10"]) == 1
    fix = capsys.readouterr().err.rpartition("Fix: ")[2]
    assert fix == "--reference 30,20,10, the nearest that is\n"
    assert main([*words, "--grid", "log", *fix.partition(", the")[0].split()]) == 0


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_verdict_is_laid_out_once(columns: int, monkeypatch: pytest.MonkeyPatch, sweep: ptc.Sweep) -> None:
    """As wide as the terminal: the terminal's own wrapping finds nothing to break below the headline."""
    monkeypatch.setenv("COLUMNS", str(columns))
    _, *lines = ptc.choose(sweep, "nDCG@10", folds=2).explain(width=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert max(map(len, lines)) > columns - 12
    assert wrap("\n".join(lines)).splitlines() == lines


def test_the_deepest_cutoffs_are_those_of_the_cascade() -> None:
    """Where no query retrieves as many documents: the measures, and the number of vectors, are the same."""
    table, qrels = make_table()
    deep = replace(table, paths=(Path(STAGES, (1000, 100, 10), (1000, 100)),))
    one, other = (
        ptc.sweep(made, qrels, ["nDCG@10"]) for made in (replace(table, paths=(Path(STAGES, (30, 30, 10), (30, 30)),)), deep)
    )
    assert ptc.choose(other, "nDCG@10", folds=2).reference == (1000, 100, 10)
    assert one.frame["nDCG@10"].tolist() == other.frame["nDCG@10"].tolist()
    assert "1..1000 × k2 1..100" in repr(other)


def test_names_that_leave_no_room_stand_above_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: by hand."""
    monkeypatch.setenv("COLUMNS", "12")
    frame = pd.DataFrame({"cascade": ["bm25 → 5 · t5", "t5"], "RR": [0.5, 1.0]})
    assert format_table(frame, {}) == "cascade:\n1: bm25 → 5 · t5\n2: t5\n\nrow  RR\n1   0.5\n2   1.0"
