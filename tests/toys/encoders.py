"""Toy encoders: vectors from a hash of the text, and a tiny model of random weights. Their rankings mean nothing.

As a script it encodes a collection, prints after each chunk how many documents it has encoded, and waits before the last one, for a
test to kill it:

    python -m toys.encoders FOLDER DOCUMENTS
"""

from __future__ import annotations

import json
import signal
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class ToyEncoder:
    """A bi-encoder as pyterrier_dr's are, that remembers what it encoded; texts of one word have few different vectors."""

    size: int = 8
    levels: int = 0
    encoded: list[str] = field(default_factory=list, compare=False, repr=False)
    after: Callable[[int], object] = field(default=bool, compare=False, repr=False)

    def encode_queries(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """Encode queries."""
        del batch_size
        return np.stack([self.vector(text) for text in texts])

    def encode_docs(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """Encode documents, and call ``after`` with how many were encoded."""
        found = self.encode_queries(texts, batch_size)
        self.encoded.extend(texts)
        self.after(len(self.encoded))
        return found

    def vector(self, text: str) -> np.ndarray:
        """Whole numbers below ``levels``, so that sums are exact and scores tie; normal values for 0 levels."""
        random = np.random.default_rng(zlib.crc32(text.encode()))
        if self.levels:
            return random.integers(-self.levels, self.levels + 1, self.size).astype(np.float32)
        return random.standard_normal(self.size).astype(np.float32)


class Unnamed(ToyEncoder):
    """An encoder without a description: all of them have one name."""

    def __repr__(self) -> str:
        """Return the same for all."""
        return "Unnamed()"


def collection(count: int) -> list[dict[str, str]]:
    """Make documents."""
    return [{"docno": f"d{n}", "text": f"text {n} " + "x" * (n % 7)} for n in range(count)]


def tiny_model(folder: Path, seed: int = 0, prompts: dict[str, str] | None = None) -> SentenceTransformer:
    """Save a sentence-transformers model of random weights, 16 values a vector, that knows letters; give it loaded."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    torch.manual_seed(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz:")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.3, **size)
    bert = folder / "bert"
    transformers.BertModel(config).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(vocabulary))
    (bert / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 64}))
    model = SentenceTransformer(modules=[Transformer(str(bert)), Pooling(16)], prompts=prompts, device="cpu")
    model.save(str(folder / "model"))
    return model


def stuck(docs: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield all documents but the last, and wait for ever."""
    yield from docs[:-1]
    print("waiting", flush=True)  # noqa: T201 - to the process that started this one
    sys.stdin.readline()


if __name__ == "__main__":
    from pt_cascade.stages.vectors.build_vectors import build_vectors
    from toys.encoders import ToyEncoder  # by the name under which other processes import it

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
    encoder = ToyEncoder(after=lambda count: count % 512 or print(count, flush=True))  # noqa: T201 - likewise
    build_vectors(stuck(collection(int(sys.argv[2]))), encoder, sys.argv[1])
