"""Models that several stages are tested with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.pairs import LENGTHS, WORDS


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """Three queries with 14 documents each, of 0 to 900 words, in an order and with an index of their own."""
    random = np.random.default_rng(0)
    rows = [
        (f"q{query}", " ".join(random.choice(WORDS, 4)), f"d{number}", " ".join(random.choice(WORDS, length)))
        for query in range(3)
        for number, length in enumerate(LENGTHS)
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"], index=random.permutation(len(rows)))
    return frame.assign(rank=7, score=0.0, url="u")


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> str:
    """A tiny T5 of random weights with the real tokenizer."""
    from toys.t5 import make_t5, save_model

    return save_model(make_t5(), tmp_path_factory.mktemp("t5"), t5_tokenizer)


@pytest.fixture(scope="session")
def mt5(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> str:
    """A tiny mT5 of random weights with the T5 tokenizer."""
    from toys.t5 import make_mt5, save_model

    return save_model(make_mt5(), tmp_path_factory.mktemp("mt5"), t5_tokenizer)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model hub at a port of this machine where nothing listens."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
