"""Each stage beside its reference implementation, one document at a time: the largest difference of a score.

    python experiments/parity.py [--data FOLDER] [--models FOLDER] [--pairs N]

Real dl19 passages. Cross-encoder, MonoT5 and DuoT5 have RANDOM weights (MiniLM-L6's and t5-small's shape) and real tokenizers; the
bi-encoder is the real all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyterrier_t5
import sentence_transformers
import torch
import transformers

import pt_cascade as ptc

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from inference_shapes import make_model, read_pairs

if TYPE_CHECKING:
    import pandas as pd

SHARED = Path(__file__).parents[2] / "shared"


def of_cross_encoder(folder: Path, _: Path, pairs: pd.DataFrame) -> tuple[str, np.ndarray, np.ndarray]:
    """Compare with sentence-transformers' predict, a pair at a time, without its sigmoid."""
    model = make_model("MiniLM-L6", Path(ptc.default_model()), folder)
    there = sentence_transformers.CrossEncoder(str(model), device="cpu")
    asked = {"activation_fn": torch.nn.Identity(), "show_progress_bar": False}
    alone = [there.predict([pair], **asked)[0] for pair in zip(pairs["query"], pairs["text"], strict=True)]
    return "sentence-transformers CrossEncoder.predict", _scores(ptc.stages.cross_encoder(model), pairs), np.array(alone)


def of_mono_t5(folder: Path, tokenizer: Path, pairs: pd.DataFrame) -> tuple[str, np.ndarray, np.ndarray]:
    """Compare with pyterrier_t5 at batch size 1."""
    model = make_model("t5-small", tokenizer, folder)
    stock = pyterrier_t5.MonoT5ReRanker(str(model), str(model), batch_size=1, verbose=False)
    return "pyterrier_t5 MonoT5ReRanker(batch_size=1)", _scores(ptc.stages.mono_t5(model), pairs), _scores(stock, pairs)


def of_duo_t5(folder: Path, tokenizer: Path, pairs: pd.DataFrame) -> tuple[str, np.ndarray, np.ndarray]:
    """Compare p(i beats j) with plain transformers, prompt by prompt, on a few documents cut to 60 words."""
    some = pairs.head(5).assign(text=[" ".join(text.split()[:60]) for text in pairs["text"].head(5)])
    model = make_model("t5-small", tokenizer, folder)
    first, second = (np.array(side) for side in zip(*[(i, j) for i in range(5) for j in range(5) if i != j], strict=True))
    words, network = (
        transformers.AutoTokenizer.from_pretrained(model),
        transformers.T5ForConditionalGeneration.from_pretrained(model),
    )
    answers, start = words.convert_tokens_to_ids(["▁true", "▁false"]), torch.zeros(1, 1, dtype=torch.long)
    alone = []
    for i, j in zip(first, second, strict=True):
        upper, lower = some["text"].iloc[i], some["text"].iloc[j]
        prompt = f"Query: {some['query'].iloc[0]} Document0: {upper} Document1: {lower} Relevant:"
        with torch.inference_mode():
            logits = network.eval()(**words(prompt, return_tensors="pt"), decoder_input_ids=start).logits[0, 0, answers]
        alone.append(float(logits.double().softmax(0)[0]))
    return "plain transformers, a prompt at a time", ptc.stages.duo_t5(model).compare(some, first, second), np.array(alone)


def of_bi_encoder(folder: Path, _: Path, pairs: pd.DataFrame) -> tuple[str, np.ndarray, np.ndarray]:
    """Compare with the dot products of sentence-transformers' own vectors, a text at a time."""
    docs = pairs.drop_duplicates("docno")[["docno", "text"]].to_dict("records")
    vectors = ptc.stages.build_vectors(docs, ptc.default_model(), folder / "vectors")
    there = sentence_transformers.SentenceTransformer(ptc.default_model(), device="cpu")
    encode = {"show_progress_bar": False}
    alone = [there.encode(row.query, **encode) @ there.encode(row.text, **encode) for row in pairs.itertuples()]
    return "sentence-transformers encode, dot product", _scores(ptc.stages.bi_encoder(vectors), pairs), np.array(alone)


def _scores(stage: object, pairs: pd.DataFrame) -> np.ndarray:
    scores: np.ndarray = stage.transform(pairs)["score"].to_numpy(float)
    return scores


def main() -> None:
    """Compare and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PT_CASCADE_DATA", SHARED / "data")) / "dl19")
    parser.add_argument("--models", type=Path, default=Path(os.environ.get("PT_CASCADE_MODELS", SHARED / "models")))
    parser.add_argument("--pairs", type=int, default=80)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    pairs = read_pairs(arguments.data, arguments.pairs).assign(score=0.0, rank=0)
    print("| stage | reference, one at a time | scores | their spread (sd) | largest difference |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for part in (of_cross_encoder, of_mono_t5, of_duo_t5, of_bi_encoder):
            reference, ours, theirs = part(Path(folder), arguments.models / "t5-tokenizer", pairs)
            apart, name = np.abs(ours - theirs).max(), part.__name__.removeprefix("of_")
            print(f"| `{name}` | {reference} | {len(ours)} | {theirs.std():.3f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
