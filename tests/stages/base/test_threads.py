"""Small products run on one thread, and torch has its threads back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pt_cascade.stages import late_interaction
from pt_cascade.stages.base.threads import one_thread, short_text_threads
from pt_cascade.stages.late_interaction import max_sim


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Torch computes on two threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_torch_has_its_threads_back_after_an_error() -> None:
    """Inside there is one thread."""
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / (torch.get_num_threads() - 1)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("parameters", "threads"), [(49_999_999, 1), (50_000_000, 2)])
def test_a_large_model_keeps_its_threads(parameters: int, threads: int) -> None:
    """Of which even one short text is work for several."""
    network = torch.nn.Module()
    network.weights = torch.nn.Parameter(torch.empty(parameters, device="meta"))
    with short_text_threads(network):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_queries_are_encoded_on_one_thread_and_documents_on_all(minilm: str) -> None:
    """As counted inside the model of a real stage: two queries, and their documents."""
    seen: list[tuple[int, int]] = []

    def note(_: Any, inputs: Any) -> None:
        seen.append((len(inputs[0]["input_ids"]), torch.get_num_threads()))

    stage = late_interaction(minilm)
    stage.encoder._loaded[0][0].register_forward_pre_hook(note)
    found = pd.DataFrame({"qid": ["1", "1", "2"], "query": ["lion", "lion", "bear"], "docno": ["a", "b", "a"], "text": "a lion"})
    stage.transform(found)
    assert seen == [(1, 1), (2, 2), (1, 1), (1, 2)]


def test_the_products_of_documents_are_computed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, whatever torch is set to."""
    seen: list[int] = []
    product = torch.mm

    def note(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.get_num_threads())
        return product(*arguments, **options)

    monkeypatch.setattr(torch, "mm", note)
    eye = np.eye(3, dtype=np.float32)
    assert max_sim(eye, [eye, eye[:2]]).tolist() == [3.0, 2.0]
    assert seen == [1, 1]


def test_progress_is_shown_where_it_is_asked_for(minilm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents are counted, from the first to the last."""
    found = pd.DataFrame({"qid": ["1", "2"], "query": ["lion", "bear"], "docno": ["a", "b"], "text": "a lion"})
    quiet, loud = late_interaction(minilm), late_interaction(minilm, verbose=True)
    assert (quiet.transform(found)["score"] == loud.transform(found)["score"]).all()
    assert loud.identify() == quiet.identify()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" [")[0] for line in (lines[0], lines[-1])] == ["late_interaction: 0/2", "late_interaction: 2/2"]
