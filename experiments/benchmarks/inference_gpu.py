"""Cross-encoder and MonoT5 on a GPU: pairs a second at each budget and dtype, beside the peers, and out of memory for real.

    python experiments/benchmarks/inference_gpu.py --data FOLDER --tokenizer FOLDER --wordpiece FOLDER [--quick] [--seconds 280]

Shapes of MiniLM-L6, t5-base and t5-3b with random weights: costs and mechanics are real, scores mean nothing. The folders are
those of dl19, of the T5 tokenizer and of a BERT tokenizer. Each part stands for itself: where one fails its error is printed and
the next begins; a part that would begin after the time given is left out. All rows are printed, and written as JSON to $OUT.
pyterrier_t5 is measured where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from inference_shapes import SHAPES, clock, count_flops, make_model, measure_peak, pad_lengths, read_pairs
from pyterrier_t5 import MonoT5ReRanker

from pt_cascade.errors import CascadeWarning
from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.inference.batching import plan
from pt_cascade.stages.mono_t5 import mono_t5

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

BUDGETS = (4096, 16384, 32768, 131072)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PACKAGES = ("torch", "transformers", "sentence-transformers", "pyterrier", "pyterrier-t5", "tokenizers", "numpy", "pandas")


@dataclass
class Bench:
    """Where and how long to measure, and what was found.

    Attributes:
        device: cuda, or cpu for a trial.
        pairs: Frame[qid, query, docno, text].
        folder: Where models are made.
        tokenizers: The tokenizer of each kind of model.
        until: When to begin nothing more.
        peaks: Operations a second, by dtype.
        rows: What was found.
    """

    device: str
    pairs: pd.DataFrame
    folder: Path
    tokenizers: dict[str, Path]
    budgets: tuple[int, ...]
    until: float
    peaks: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)

    def tell(self, part: str, **found: object) -> None:
        """Print a row and keep it."""
        self.rows.append({"part": part, **found})
        words = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items())
        print(f"{part:14} {' · '.join(words)}", flush=True)

    def attempt(self, part: Callable[..., None], *arguments: object) -> None:
        """Do a part; where it fails print why, and go on."""
        name = " ".join([part.__name__, *map(str, arguments)])
        if time.monotonic() > self.until:
            self.tell("left out", what=name)
            return
        start = time.monotonic()
        try:
            part(self, *arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are wanted
            traceback.print_exc()
            self.tell("FAILED", what=name, error=f"{type(error).__name__}: {error}"[:300])
        finally:
            if self.device == "cuda":
                torch.cuda.empty_cache()
        print(f"               ({name}: {time.monotonic() - start:.1f} s)", flush=True)

    def model(self, shape: str) -> Path:
        """Make a model; the largest is kept in bfloat16, to write half as much."""
        dtype = torch.bfloat16 if shape == "t5-3b" else torch.float32
        return make_model(shape, self.tokenizers[SHAPES[shape].model_type], self.folder, dtype, self.device)

    def stage(self, shape: str, **options: object) -> object:
        """Make our stage for a shape."""
        make = mono_t5 if SHAPES[shape].model_type == "t5" else cross_encoder
        return make(self.model(shape), device=self.device, **options)


def peaks(bench: Bench) -> None:
    """Measure the card's matrix products."""
    size = 8192 if bench.device == "cuda" else 1024
    for name, dtype in DTYPES.items():
        bench.peaks[name] = measure_peak(bench.device, dtype, size)
        bench.tell("peak", dtype=name, tflops=bench.peaks[name] / 1e12, size=size)


def ours(bench: Bench, shape: str, dtype: str, count: int) -> None:
    """Time our stage at each budget: the whole of it, tokenizing included."""
    pairs, first = bench.pairs.head(count), None
    stage = bench.stage(shape, dtype=dtype)
    seconds, _ = clock(lambda: stage.transform(pairs.head(64)), bench.device)
    bench.tell("load", shape=shape, dtype=dtype, seconds=seconds)
    lengths = np.array(stage.count_tokens(pairs))
    reading = clock(lambda: stage.count_tokens(pairs))[0]
    bench.tell("tokenize", shape=shape, pairs=count, tokens=int(lengths.sum()), pairs_per_s=count / reading)
    for budget in bench.budgets:
        if time.monotonic() > bench.until:
            break
        again = bench.stage(shape, dtype=dtype, batch_tokens=budget)
        again.__dict__["_loaded"] = stage.__dict__["_loaded"]
        if bench.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = [clock(lambda again=again: again.transform(pairs), bench.device)[0] for _ in range(2)]
        scores = again.transform(pairs.head(min(count, 256)))["score"].to_numpy()
        first = scores if first is None else first
        batches = plan(lengths, budget)
        work, padded = (count_flops(SHAPES[shape], of) for of in (lengths, pad_lengths(lengths, batches)))
        bench.tell(
            "ours",
            shape=shape,
            dtype=dtype,
            budget=budget,
            batches=len(batches),
            pairs_per_s=count / min(times),
            seconds=min(times),
            first_seconds=times[0],
            share_of_peak=work / min(times) / bench.peaks.get(dtype, np.nan),
            share_padded=padded / min(times) / bench.peaks.get(dtype, np.nan),
            gib=torch.cuda.max_memory_allocated() / 2**30 if bench.device == "cuda" else 0.0,
            moved=float(np.abs(scores - first).max()),
            spread=float(scores.std()),
        )


def sentence_transformers_predict(bench: Bench, dtype: str, count: int) -> None:
    """Time sentence-transformers' predict, pooled over queries, at several batch sizes."""
    import sentence_transformers  # noqa: PLC0415 - heavy

    pairs = bench.pairs.head(count)
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    options = {"model_kwargs": {"dtype": DTYPES[dtype]}, "device": bench.device}
    model = sentence_transformers.CrossEncoder(str(bench.model("MiniLM-L6")), **options)
    ours_scores = bench.stage("MiniLM-L6", dtype=dtype).transform(pairs)["score"].to_numpy()
    for size in (32, 128, 512):
        asked = {"batch_size": size, "show_progress_bar": False, "activation_fn": torch.nn.Identity()}
        model.predict(texts[:size], **asked)
        scores: list[np.ndarray] = []
        seconds, _ = clock(lambda asked=asked, scores=scores: scores.append(model.predict(texts, **asked)), bench.device)
        apart = float(np.abs(scores[0].astype(float) - ours_scores).max())
        found = {"dtype": dtype, "batch_size": size, "pairs_per_s": count / seconds, "apart_from_ours": apart}
        bench.tell("sentence-tr.", shape="MiniLM-L6", **found)


def pyterrier_t5_transform(bench: Bench, shape: str, count: int) -> None:
    """Time pyterrier_t5 at batch sizes 4, its default, 16 and 64; it computes in the dtype that the weights are saved in."""
    name = str(bench.model(shape))
    stock = MonoT5ReRanker(name, name, batch_size=4, verbose=False)
    pairs = bench.pairs.head(count)
    dtype = next(name for name, kind in DTYPES.items() if kind == stock.model.dtype)
    for size in (4, 16, 64):
        stock.batch_size = size
        stock.transform(pairs.head(size))
        seconds, _ = clock(lambda: stock.transform(pairs), bench.device)
        bench.tell("pyterrier_t5", shape=shape, dtype=dtype, batch_size=size, pairs=count, pairs_per_s=count / seconds)


def compare(bench: Bench, shape: str, dtype: str, count: int) -> None:
    """Compare a dtype's scores with float32's, and with its own in other batches. Random weights."""
    pairs = bench.pairs.head(count)
    exact, small, large = (
        bench.stage(shape, dtype=name, batch_tokens=tokens).transform(pairs)["score"]
        for name, tokens in (("fp32", 16384), (dtype, 1024), (dtype, 65536))
    )
    bench.tell(
        "dtype",
        shape=shape,
        dtype=dtype,
        spread=float(exact.std()),
        apart_from_fp32=float((small - exact).abs().max()),
        kendall_tau=float(small.corr(exact, method="kendall")),
        moved_by_batch=float((large - small).abs().max()),
        different=small.nunique(),
    )


def out_of_memory(bench: Bench, shape: str) -> None:
    """Give the process a few GiB, and double the budget until a batch does not fit: the rest, and so all, is scored at half."""
    pairs = bench.pairs
    expected = bench.stage(shape, dtype="bf16").transform(pairs)["score"].to_numpy()
    stage = bench.stage(shape, dtype="bf16")
    stage.transform(pairs.head(8))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + 2 * 2**30
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        for budget in (2**power for power in range(14, 24)):
            again = bench.stage(shape, dtype="bf16", batch_tokens=budget)
            again.__dict__["_loaded"] = stage.__dict__["_loaded"]
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                scores = again.transform(pairs)["score"].to_numpy()
            said = [str(one.message) for one in told if issubclass(one.category, CascadeWarning)]
            apart = float(np.abs(scores - expected).max())
            bench.tell("out of memory", shape=shape, budget=budget, scored=len(scores), apart=apart, said=" | ".join(said))
            if said:
                break
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def run(bench: Bench, *, quick: bool) -> None:
    """Do all parts, the most wanted first."""
    many, few = (64, 32) if quick else (4096, 512)
    large = "t5-small" if quick else "t5-3b"
    base = "t5-small" if quick else "t5-base"
    bench.attempt(peaks)
    bench.attempt(ours, "MiniLM-L6", "bf16", many)
    bench.attempt(ours, "MiniLM-L6", "fp32", many)
    bench.attempt(sentence_transformers_predict, "bf16", many)
    bench.attempt(sentence_transformers_predict, "fp32", many)
    bench.attempt(ours, base, "bf16", many)
    bench.attempt(ours, base, "fp32", many // 2)
    bench.attempt(pyterrier_t5_transform, base, few)
    if bench.device == "cuda":
        bench.attempt(out_of_memory, base)
    for dtype in ("fp32", "bf16"):
        bench.attempt(compare, "MiniLM-L6", dtype, few)
        bench.attempt(compare, base, dtype, few)
    bench.attempt(ours, large, "bf16", many // 2)
    bench.attempt(ours, large, "fp32", few // 2)
    bench.attempt(pyterrier_t5_transform, large, few // 4)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> int:
    """Measure, print, write; the exit code is the number of parts that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="dl19: docs.jsonl.gz, topics.tsv, runs")
    parser.add_argument("--tokenizer", type=Path, required=True, help="of T5")
    parser.add_argument("--wordpiece", type=Path, required=True, help="of BERT")
    parser.add_argument("--seconds", type=float, default=280, help="begin no part after these")
    parser.add_argument("--quick", action="store_true", help="a trial, on a CPU where there is no GPU")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.quick:
        parser.error("there is no GPU here; --quick tries the script on a CPU")
    with tempfile.TemporaryDirectory() as folder:
        pairs = read_pairs(arguments.data, 64 if arguments.quick else 4096)
        bench = Bench(
            device,
            pairs,
            Path(folder),
            {"t5": arguments.tokenizer, "bert": arguments.wordpiece},
            BUDGETS[:2] if arguments.quick else BUDGETS,
            time.monotonic() + arguments.seconds,
        )
        card = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
        bench.tell(
            "machine",
            card=card,
            cores=os.cpu_count(),
            python=platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        )
        run(bench, quick=arguments.quick)
    if out := os.environ.get("OUT"):
        (Path(out) / "inference_gpu.json").write_text(json.dumps(bench.rows, indent=1), encoding="utf-8")
    return sum(row["part"] == "FAILED" for row in bench.rows)


if __name__ == "__main__":
    sys.exit(main())
