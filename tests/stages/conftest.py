"""Models that several stages are tested with."""

from __future__ import annotations

from pathlib import Path

import pytest


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
