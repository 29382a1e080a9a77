"""Merges the finished shards of a run into one ranking a file, and one trace, with all counts checked."""

from __future__ import annotations

import gzip
import shlex
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.errors import CascadeError, few
from pt_cascade.execution.batch.shards import TRACE
from pt_cascade.files import rm_command
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from pt_cascade.execution.batch.plan import Plan, Shard
    from pt_cascade.execution.batch.storage.folder import BatchFolder


def merge_shards(folder: BatchFolder, plan: Plan) -> dict[str, object]:
    """Write the results of a run whose shards are all finished, unless they are there; return the counts of its trace."""
    numbers = range(len(plan.shards))
    if missing := [number for number in numbers if not folder.is_finished(number)]:
        named = ", ".join(few([str(one) for one in missing]))
        problem = f"{len(missing)} of {count_of(len(plan.shards), 'shard')} are not finished: {named}"
        raise CascadeError(f"the run in {folder.path} cannot be merged", [problem], fix="start its command again")
    for number in numbers:
        folder.check_shard(number)
    for number, shard in enumerate(plan.shards):
        _check_queries(folder.shard(number), shard)

    def fill(new: Path) -> None:
        for name in plan.settings.files(plan.stages).values():
            with (new / name).open("wb") as merged:
                for number in numbers:
                    file = folder.shard(number) / name
                    _check_ranking(file, _read_qids(folder.shard(number)))
                    with file.open("rb") as part:
                        shutil.copyfileobj(part, merged)
        _merge_traces([folder.shard(number) / TRACE for number in numbers], new / TRACE)

    build_once(folder.results, fill)
    check_sealed(folder.results, fix=f"{rm_command(folder.results)}, then pt-cascade merge {shlex.quote(str(folder.path))}")
    counts = count_trace(folder.results / TRACE, plan)
    folder.write_manifest(plan, counts)
    return counts


def count_trace(trace: Path, plan: Plan) -> dict[str, object]:
    """Count the queries, those without results, and for each stage what it did not score."""
    unscored, failed, nothing = Counter[str](), Counter[str](), 0
    with pq.ParquetFile(trace) as opened:
        for n in range(opened.num_row_groups):
            rows = opened.read_row_group(n, columns=["stage", "docs_out", "unscored", "error"]).to_pandas()
            unscored.update(rows.groupby("stage")["unscored"].sum().to_dict())
            failed.update(rows[rows["error"] != ""].groupby("stage").size().to_dict())
            nothing += int(((rows["stage"] == plan.stages[-1]) & (rows["docs_out"] == 0)).sum())
    return {
        "queries": sum(shard.queries for shard in plan.shards),
        "queries_without_results": nothing,
        "documents_not_scored": {name: int(unscored[name]) for name in plan.stages if unscored[name]},
        "queries_failed": {name: failed[name] for name in plan.stages if failed[name]},
    }


def _read_qids(shard: Path) -> list[str]:
    qids: list[str] = pd.read_parquet(shard / TRACE, columns=["qid"])["qid"].unique().tolist()
    return qids


def _check_queries(folder: Path, shard: Shard) -> None:
    """Refuse a shard whose trace has other queries than the plan."""
    qids = _read_qids(folder)
    if (found := (qids[0], qids[-1], len(qids))) != (expected := (shard.first, shard.last, shard.queries)):
        problem = f"its first and last qid and their number are {found}, expected {expected}"
        raise CascadeError(f"{folder} is not a shard of this run", [problem], fix="fresh=True")


def _check_ranking(file: Path, qids: Collection[str]) -> None:
    """Refuse a ranking with queries of other shards, a query in two places, or a document twice."""
    pairs = _read_pairs(file)
    each = pairs["qid"][pairs["qid"] != pairs["qid"].shift()]
    problems = [f"qid {qid!r} is of another shard" for qid in each[~each.isin(qids)]]
    problems += [f"qid {qid!r} is in two places" for qid in each[each.duplicated()]]
    problems += [f"qid {qid!r} has a document twice" for qid in pairs["qid"][pairs.duplicated()].unique()]
    if problems:
        raise CascadeError(f"{file} cannot be merged", few(problems), fix="fresh=True")


def _read_pairs(file: Path) -> pd.DataFrame:
    """Read Frame[qid, docno] of a ranking."""
    text = {"qid": pa.string(), "docno": pa.string()}
    if not (lines := gzip.decompress(file.read_bytes())):
        return pd.DataFrame(columns=[*text], dtype=str)
    reading = csv.ReadOptions(use_threads=False, column_names=["qid", "q0", "docno", "rank", "score", "tag"])
    options = csv.ParseOptions(delimiter=" ", quote_char=False), csv.ConvertOptions(include_columns=[*text], column_types=text)
    pairs: pd.DataFrame = csv.read_csv(pa.BufferReader(lines), reading, *options).to_pandas()
    return pairs


def _merge_traces(parts: list[Path], merged: Path) -> None:
    """Write the traces one after the other, a row group each."""
    schema = pa.unify_schemas([pq.read_schema(part).remove_metadata() for part in parts], promote_options="permissive")
    with pq.ParquetWriter(merged, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(schema))


def show_counts(counts: Mapping[str, object]) -> str:
    """Say in one line what a run found and did not score."""
    said = [f"{counts['queries']:,} queries, {counts['queries_without_results']:,} without results"]
    for key, words in (("documents_not_scored", "documents not scored"), ("queries_failed", "queries failed")):
        per_stage = counts[key]
        if isinstance(per_stage, dict) and per_stage:
            said.append(f"{words}: {', '.join(f'{name} {count:,}' for name, count in per_stage.items())}")
    return "; ".join(said)
