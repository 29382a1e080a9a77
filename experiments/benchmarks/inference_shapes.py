"""What the inference benchmarks share: models of real shapes and random weights, real pairs, and how much work they are."""

from __future__ import annotations

import gzip
import json
import shutil
import time
from typing import TYPE_CHECKING

import pandas as pd
import torch
import transformers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from transformers import PretrainedConfig

RUN = "rankllm.bm25-pyserini.res.gz"
_T5 = {"feed_forward_proj": "relu", "decoder_start_token_id": 0, "n_positions": 512}
SHAPES: dict[str, PretrainedConfig] = {
    "MiniLM-L6": transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=1
    ),
    "t5-small": transformers.T5Config(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, **_T5),
    "t5-base": transformers.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, **_T5),
    "t5-3b": transformers.T5Config(d_model=1024, d_kv=128, d_ff=16384, num_layers=24, num_heads=32, **_T5),
}


def read_pairs(data: Path, count: int) -> pd.DataFrame:
    """Take the first passages of BM25 for each query of TREC DL 2019 whose passages are there, the same number for each query.

    Args:
        data: The folder with ``docs.jsonl.gz``, ``topics.tsv`` and ``runs``.
        count: Pairs wanted.

    Returns:
        Frame[qid, query, docno, text], count rows, whole queries first to last.
    """
    with gzip.open(data / "docs.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = {doc["docno"]: doc["text"] for doc in map(json.loads, lines)}
    queries = dict(line.split("\t") for line in (data / "topics.tsv").read_text(encoding="utf-8").splitlines())
    names = ["qid", "_", "docno", "rank", "score", "tag"]
    run = pd.read_csv(data / "runs" / RUN, sep=r"\s+", names=names, dtype=str)[["qid", "docno"]]
    run = run[run["docno"].isin(texts) & run["qid"].isin(queries)]
    run = run.assign(query=run["qid"].map(queries), text=run["docno"].map(texts))
    depth = next(depth for depth in range(40, 2000, 20) if (run.groupby("qid").cumcount() < depth).sum() >= count)
    return run[run.groupby("qid").cumcount() < depth].head(count).reset_index(drop=True)


def make_model(shape: str, tokenizer: Path, folder: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Path:
    """Save a model of random weights and that shape, with a real tokenizer.

    Args:
        shape: One of ``SHAPES``.
        tokenizer: The folder of the tokenizer.
        folder: Where models are kept; one that is there is not made again.
        dtype: The type of the weights.
        device: Where they are drawn.

    Returns:
        The model's folder.
    """
    to = folder / shape
    if (to / "config.json").exists():
        return to
    torch.manual_seed(0)
    config = SHAPES[shape]
    kind = transformers.T5ForConditionalGeneration if config.model_type == "t5" else transformers.BertForSequenceClassification
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = kind(config)
    finally:
        torch.set_default_dtype(before)
    model.to("cpu").save_pretrained(to)
    for file in tokenizer.iterdir():
        if file.name == "vocab.txt" or "token" in file.name:
            shutil.copyfile(file, to / file.name)
    return to


def count_flops(config: PretrainedConfig, lengths: np.ndarray) -> float:
    """Count the floating point operations of reading rows, a product and a sum each one: linear layers and attention.

    Args:
        config: The model's.
        lengths: Shape (n,). Tokens of each row; of its padded length, what a batch really computes.

    Returns:
        Operations. A T5's decoder counts with its one step as ours computes it: nothing for each token, 1/1000 of the whole.
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    if config.model_type == "t5":
        inner, dense = config.num_heads * config.d_kv, config.d_ff
    else:
        inner, dense = width, config.intermediate_size
    tokens, squares = float(lengths.sum()), float((lengths.astype(float) ** 2).sum())
    return 2 * layers * (tokens * (4 * width * inner + 2 * width * dense) + 2 * squares * inner)


def pad_lengths(lengths: np.ndarray, batches: list[np.ndarray]) -> np.ndarray:
    """Give each row the length that it has in its batch.

    Args:
        lengths: Shape (n,). Tokens of each row.
        batches: The row numbers of each batch.

    Returns:
        Shape (n,).
    """
    padded = lengths.copy()
    for rows in batches:
        padded[rows] = lengths[rows].max()
    return padded


def measure_peak(device: str, dtype: torch.dtype, size: int, *, repeats: int = 5) -> float:
    """Measure how fast square matrices are multiplied, the best of some runs.

    Args:
        device: Where.
        dtype: Of what.
        size: Rows and columns.
        repeats: Runs.

    Returns:
        Operations a second.
    """
    first, second = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(repeats + 1):
        best = max(best, 2 * size**3 / clock(lambda: first @ second, device)[0])
    return best


def clock(work: Callable[[], object], device: str = "cpu") -> tuple[float, float]:
    """Time some work.

    Args:
        work: A function without arguments.
        device: Where it runs; a GPU is waited for.

    Returns:
        Seconds of wall clock, and of this process's CPU.
    """
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wait()
    return time.perf_counter() - wall, time.process_time() - cpu
