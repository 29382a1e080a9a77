"""Precisions: what each layer computes, what is refused on which processor, and that scores are the same on all of them."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import GELU, Linear, Sequential

from pt_cascade.errors import PipelineError
from pt_cascade.stages.cross_encoder import CrossEncoder, cross_encoder
from pt_cascade.stages.duo_t5 import duo_t5
from pt_cascade.stages.inference.dtypes import Float32Linear, PackedLinear, choose, is_packing_faster, replace_layers
from pt_cascade.stages.inference.options import check_dtype
from pt_cascade.stages.mono_t5 import mono_t5

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 50), st.booleans(), st.integers(0, 10**6))


def _layer(size: tuple[int, int, int, bool, int]) -> tuple[Linear, torch.Tensor]:
    rows, given_, out, bias, seed = size
    torch.manual_seed(seed)
    return Linear(given_, out, bias=bias), torch.randn(rows, given_)


@given(SIZES)
def test_a_packed_layer_computes_the_same_product(size: tuple[int, int, int, bool, int]) -> None:
    """Golden values from NumPy in float64: any shape, with and without a bias, to the rounding of float32."""
    layer, rows = _layer(size)
    with torch.inference_mode():
        found = PackedLinear(layer)(rows).numpy()
    golden = rows.numpy().astype(float) @ layer.weight.detach().numpy().astype(float).T
    golden += 0 if layer.bias is None else layer.bias.detach().numpy()
    assert found == pytest.approx(golden, abs=1e-5)


def test_a_packed_layer_reads_what_is_not_contiguous() -> None:
    """The first token of each row, as a pooler takes it, and three dimensions."""
    layer, tokens = Linear(8, 5), torch.randn(3, 4, 8)
    packed = PackedLinear(layer)
    with torch.inference_mode():
        assert torch.allclose(packed(tokens[:, 0]), layer(tokens[:, 0]), atol=1e-6)
        assert torch.allclose(packed(tokens.transpose(0, 1)), layer(tokens.transpose(0, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "device", "problem"),
    [
        ("fp32", None, None),
        ("fp32", "cpu", None),
        ("bf16", "cuda:1", None),
        ("fp16", "cuda", "dtype is 'fp16', expected one of fp32, bf16"),
        ("int8", "cpu", "dtype is 'int8', expected one of fp32, bf16"),
    ],
)
@pytest.mark.parametrize("make", [cross_encoder, mono_t5, duo_t5])
def test_an_unknown_dtype_is_refused_before_a_model_is_loaded(
    make: Callable[..., CrossEncoder], dtype: str, device: str | None, problem: str | None
) -> None:
    """All stages refuse alike, and at once."""
    assert check_dtype(dtype, device) == ([problem] if problem else [])
    if problem is None:
        assert make("owner/absent", dtype=dtype, device=device).dtype == dtype
        return
    with pytest.raises(PipelineError) as error:
        make("owner/absent", dtype=dtype, device=device)
    assert error.value.problems == (problem,)


# What hides AVX-512 from torch and from oneDNN. On a processor without it they change nothing.
MASK = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
SLOW = "dtype is 'bf16', slower than fp32 on this processor, which has no AVX-512 BF16; expected 'fp32', or device='cuda'"
MASKED = """
import json, sys
import pandas as pd
import torch
from pt_cascade.errors import PipelineError
from pt_cascade.stages import cross_encoder, duo_t5, mono_t5
from pt_cascade.stages.inference.dtypes import torch_dtype

def refuse(make):
    try:
        make()
    except PipelineError as error:
        return [error.what, *error.problems]

refused = [
    *(refuse(lambda: make("owner/absent", dtype="bf16", device="cpu")) for make in (cross_encoder, mono_t5, duo_t5)),
    refuse(lambda: torch_dtype("bf16", torch.device("cpu"))),
    cross_encoder("owner/absent", dtype="bf16", device="cuda").dtype,
    cross_encoder("owner/absent", dtype="fp32", device="cpu").dtype,
]
stage = cross_encoder(sys.argv[1], device="cpu")
scores = stage.transform(pd.read_json(sys.argv[2], dtype=False))["score"].tolist()
layers = {type(layer).__name__ for layer in next(v for v in stage._loaded if hasattr(v, "modules")).modules()}
print(json.dumps({"refused": refused, "scores": scores, "layers": sorted(name for name in layers if name.endswith("Linear"))}))
"""
TEXTS = ["a blunt body", "", "heat flow " * 20]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cross-encoder of random weights that knows letters."""
    folder = tmp_path_factory.mktemp("tiny")
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *string.ascii_lowercase,
        *(f"##{x}" for x in string.ascii_lowercase),
    ]
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 1}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.3, **size)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 64}))
    return str(folder)


@pytest.fixture(scope="module")
def masked(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What a process prints where AVX-512 is hidden: what is refused, and scores of the tiny model."""
    pairs = tmp_path_factory.mktemp("masked") / "pairs.json"
    pd.DataFrame({"qid": "1", "query": "heat", "docno": list("abc"), "text": TEXTS}).to_json(pairs)
    command = [sys.executable, "-c", MASKED, tiny, str(pairs)]
    ran = subprocess.run(command, env={**os.environ, **MASK}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[Any]] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_without_its_instructions_bf16_is_refused_when_a_stage_is_made(masked: dict[str, list[Any]]) -> None:
    """The error names the cures, and both are taken; a stage that came in a pickle is refused when its model is loaded."""
    made, loaded = [f"{name} cannot be made" for name in ("cross_encoder", "mono_t5", "duo_t5")], "cannot compute on cpu"
    assert masked["refused"] == [*([what, SLOW] for what in (*made, loaded)), "bf16", "fp32"]


def test_scores_are_the_same_on_every_processor(tiny: str, masked: dict[str, list[Any]]) -> None:
    """Golden values from transformers on this processor; where AVX-512 is hidden the layers are torch's own."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny).eval()
    with torch.inference_mode():
        golden = [model(**tokenizer(["heat"], [text], truncation=True, return_tensors="pt")).logits.item() for text in TEXTS]
    assert masked["scores"] == pytest.approx(golden, abs=1e-5)
    assert masked["layers"] == ["Linear"]


@pytest.mark.avx512
def test_layers_are_replaced_but_for_heads_and_those_named() -> None:
    """A head computes in float32 whatever the dtype; a layer whose name is given stays; others are packed where that is faster."""
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        model = Sequential(Linear(8, 8), GELU(), Linear(8, 8), Linear(8, 1)).to(dtype)
        named, head = model[2], model[3]
        replace_layers(model, {head}, ("2",))
        assert type(model[0]) is (PackedLinear if is_packing_faster() else Linear)
        assert model[2] is named
        assert type(model[3]) is (Float32Linear if dtype == torch.bfloat16 else Linear)
        with torch.inference_mode():
            assert model(torch.randn(3, 8).to(dtype)).dtype == torch.float32


def test_on_another_device_layers_stay() -> None:
    """Only a CPU's layers have something faster; the meta device stands for a GPU."""
    layer = Linear(4, 4, device="meta")
    assert choose(layer, head=False) is layer


def test_a_last_layer_in_bfloat16_would_tie() -> None:
    """Golden spacing: bfloat16 has 8 bits, so from 8 to 16 scores are 1/16 apart; in float32 all of a hundred stay different."""
    torch.manual_seed(0)
    head, rows = Linear(64, 1).bfloat16(), torch.randn(100, 64).bfloat16()
    with torch.no_grad():
        head.bias.fill_(12.0)
    with torch.inference_mode():
        coarse, fine = head(rows)[:, 0], Float32Linear(head)(rows)[:, 0]
    assert len(set(coarse.tolist())) < 50 < len(set(fine.tolist())) == 100
    assert np.abs((coarse.float() - fine).numpy()).max() <= 1 / 16
