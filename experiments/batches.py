"""How many top-10 lists move with the size of a batch: stock scorers, and those of pt_cascade.

Run: python experiments/batches.py [--data FOLDER] [--models FOLDER] [--queries N]. Passages of dl19, 40 a query, in batches of
1, 16 and 64 pairs (pt_cascade: of about as many tokens): of all 43 queries for real weights, of N for random ones. A list moves if
its first 10 documents or their order differ from those of the smallest batch. The cross-encoder and MonoT5 have RANDOM weights of
MiniLM-L6's and t5-small's shape: their scores are closer to each other than those of trained models, so more lists move.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyterrier_t5
import sentence_transformers
import torch
import transformers
from benchmarks.inference_shapes import make_model, read_pairs

import pt_cascade as ptc

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

SHARED = Path(__file__).parents[2] / "shared"
QUERIES, DEPTH, TOP, BATCHES, TOKENS = 43, 40, 10, (1, 16, 64), (64, 2048, 8192)


def find_top(pairs: pd.DataFrame, scores: np.ndarray) -> list[tuple[str, ...]]:
    """Return the first documents of each query."""
    ranked = pairs.assign(score=scores).sort_values(["score", "docno"], ascending=False)
    return [tuple(one["docno"].head(TOP)) for _, one in ranked.groupby("qid")]


def predict(model: Path, dtype: torch.dtype) -> Callable[[pd.DataFrame, int], np.ndarray]:
    """Score with the cross-encoder of sentence-transformers."""
    encoder = sentence_transformers.CrossEncoder(str(model), device="cpu", model_kwargs={"dtype": dtype})

    def score(pairs: pd.DataFrame, batch: int) -> np.ndarray:
        asked = [*zip(pairs["query"], pairs["text"], strict=True)]
        found = encoder.predict(asked, batch_size=batch, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return np.asarray(found, np.float64)

    return score


def encode(dtype: torch.dtype) -> Callable[[pd.DataFrame, int], np.ndarray]:
    """Score with the dot products of all-MiniLM-L6-v2, whose weights are real."""
    model = sentence_transformers.SentenceTransformer(ptc.default_model(), device="cpu", model_kwargs={"dtype": dtype})

    def score(pairs: pd.DataFrame, batch: int) -> np.ndarray:
        options = {"batch_size": batch, "show_progress_bar": False, "convert_to_tensor": True}
        queries, texts = (model.encode([*pairs[name]], **options).double() for name in ("query", "text"))
        found: np.ndarray = (queries * texts).sum(dim=1).numpy()
        return found

    return score


def scorers(folder: Path, tokenizer: Path) -> dict[str, tuple[tuple[int, ...], Callable[[pd.DataFrame, int], np.ndarray]]]:
    """Name each scorer, with its sizes of a batch."""
    cross, mono = make_model("MiniLM-L6", Path(ptc.default_model()), folder), make_model("t5-small", tokenizer, folder)
    stock_t5 = pyterrier_t5.MonoT5ReRanker

    def run(stage: Callable[[int], object]) -> Callable[[pd.DataFrame, int], np.ndarray]:
        def score(pairs: pd.DataFrame, batch: int) -> np.ndarray:
            found = stage(batch).transform(pairs)[["qid", "docno", "score"]]
            return pairs[["qid", "docno"]].merge(found, on=["qid", "docno"])["score"].to_numpy(float)

        return score

    return {
        "sentence-transformers all-MiniLM-L6-v2, real weights, fp32": (BATCHES, encode(torch.float32)),
        "sentence-transformers all-MiniLM-L6-v2, real weights, bf16": (BATCHES, encode(torch.bfloat16)),
        "sentence-transformers CrossEncoder, random weights, fp32": (BATCHES, predict(cross, torch.float32)),
        "sentence-transformers CrossEncoder, random weights, bf16": (BATCHES, predict(cross, torch.bfloat16)),
        "`cross_encoder`, random weights, fp32": (TOKENS, run(lambda tokens: ptc.stages.cross_encoder(cross, batch_tokens=tokens))),
        "pyterrier_t5 MonoT5ReRanker, random weights, fp32": (
            BATCHES,
            run(lambda batch: stock_t5(str(mono), str(mono), batch_size=batch, verbose=False)),
        ),
        "`mono_t5`, random weights, fp32": (TOKENS, run(lambda tokens: ptc.stages.mono_t5(mono, batch_tokens=tokens))),
    }


def main() -> None:
    """Score and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PT_CASCADE_DATA", SHARED / "data")) / "dl19")
    parser.add_argument("--models", type=Path, default=Path(os.environ.get("PT_CASCADE_MODELS", SHARED / "models")))
    parser.add_argument("--queries", type=int, default=5, help="of the random weights")
    parser.add_argument("--only", default="", help="a part of the names of scorers")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    every = read_pairs(arguments.data, DEPTH * QUERIES).assign(score=0.0, rank=0)
    with tempfile.TemporaryDirectory() as folder:
        for name, (sizes, score) in scorers(Path(folder), arguments.models / "t5-tokenizer").items():
            if arguments.only not in name:
                continue
            pairs = every if "real weights" in name else every.head(DEPTH * arguments.queries)
            found = [score(pairs, size) for size in sizes]
            tops = [find_top(pairs, one) for one in found]
            moved = [sum(one != other for one, other in zip(tops[0], top, strict=True)) for top in tops[1:]]
            apart = max(np.abs(one - found[0]).max() for one in found[1:])
            shown = " | ".join(f"{one} of {len(tops[0])}" for one in moved)
            print(
                f"\n| {name.rpartition(', ')[2]} | moved, batches of {BATCHES[1]} | moved, of {BATCHES[2]} | largest difference |"
            )
            print(f"|---|---|---|---|\n| {name.rpartition(', ')[0]} | {shown} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
