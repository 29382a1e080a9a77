"""Precisions: what is refused, what each layer computes, and that a score still depends on query and document alone.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import GELU, Linear, Sequential

from pt_cascade.errors import PipelineError
from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.linears import Float32Linear, Int8Linear, PackedLinear, can_pack, choose
from pt_cascade.stages.mono_t5 import mono_t5
from pt_cascade.stages.precision import check_precision, find_dtype, quicken

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 50), st.booleans(), st.integers(0, 10**6))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny layers are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@given(SIZES)
def test_whole_numbers_are_rounded_within_half_a_step(size: tuple[int, int, int, bool, int]) -> None:
    """The error of a product is at most what half a step of each number of its row and its column can make."""
    layer, rows = _layer(size)
    with torch.inference_mode():
        apart = (Int8Linear(layer)(rows) - layer(rows)).abs()
    step, weight_step = rows.abs().amax(1, keepdim=True) / 127, layer.weight.detach().abs().amax(1) / 127
    most = 0.5 * (step * (layer.weight.detach().abs().sum(1)) + rows.abs().sum(1, keepdim=True) * weight_step)
    most += 0.25 * rows.shape[1] * step * weight_step
    assert (apart <= most * 1.001 + 1e-5).all()


@given(SIZES)
def test_a_row_in_whole_numbers_does_not_depend_on_its_company(size: tuple[int, int, int, bool, int]) -> None:
    """Each row has its own scale: bit for bit what it gives alone, also beside a row that is a million times as large."""
    layer, rows = _layer(size)
    layer = Int8Linear(layer)
    with torch.inference_mode():
        together = layer(torch.cat([rows, rows[:1] * 1e6]))[:-1]
        alone = torch.cat([layer(row[None]) for row in rows])
    assert torch.equal(together, alone)


def test_torchs_own_quantization_fails_that_test() -> None:
    """One scale for the whole batch, as there, moves a row when its neighbour is large: the test above can fail."""
    layer, rows = Linear(16, 16), torch.randn(4, 16)
    with torch.inference_mode():

        def quantize(batch: torch.Tensor) -> torch.Tensor:
            step = batch.abs().max() / 127
            return layer((batch / step).round() * step)

        assert (quantize(torch.cat([rows, rows[:1] * 1e3]))[:-1] - quantize(rows)).abs().max() > 0.1


def test_a_row_of_zeros_is_the_bias() -> None:
    """A scale of nothing divides nothing by nothing."""
    layer = Linear(8, 4)
    with torch.inference_mode():
        assert torch.equal(Int8Linear(layer)(torch.zeros(2, 8)), layer.bias.expand(2, 4))


@pytest.mark.parametrize(
    ("precision", "device", "problem"),
    [
        ("fp32", None, None),
        ("bf16", "cpu", None),
        ("int8", None, None),
        ("int8", "cpu", None),
        ("fp16", "cuda:1", None),
        ("int8", "cuda", "precision int8 runs on cpu only, found device cuda"),
        ("fp16", "cpu", "precision fp16 runs on cuda only, found device cpu"),
        ("half", "cpu", "precision is 'half', expected one of fp32, bf16, fp16, int8"),
    ],
)
@pytest.mark.parametrize("make", [cross_encoder, mono_t5])
def test_what_a_device_cannot_do_is_refused_before_a_model_is_loaded(
    make: object, precision: str, device: str | None, problem: str | None
) -> None:
    """Both stages refuse alike, and at once; what may work is left for the device to say."""
    assert check_precision(precision, device) == ([problem] if problem else [])
    if problem is None:
        assert make("owner/absent", precision=precision, device=device).precision == precision
        return
    with pytest.raises(PipelineError) as error:
        make("owner/absent", precision=precision, device=device)
    assert error.value.problems == (problem,)


def test_a_device_that_was_not_named_is_refused_when_it_is_known() -> None:
    """No device means cuda where there is one; the error then says what to write."""
    with pytest.raises(PipelineError) as error:
        find_dtype("fp16", torch.device("cpu"), "mono_t5")
    problem = "precision fp16 runs on cuda only, found device cpu"
    assert str(error.value) == f'mono_t5 cannot compute so: {problem}. Fix: device="cuda", or precision="bf16"'


@pytest.mark.parametrize(("precision", "kind"), [("fp32", PackedLinear), ("bf16", PackedLinear), ("int8", Int8Linear)])
def test_layers_are_replaced_but_for_heads_and_those_named(precision: str, kind: type) -> None:
    """A head computes in float32 in any precision; a layer whose name is given stays as it is."""
    if not can_pack():
        pytest.skip("this build of torch has no oneDNN")
    torch.manual_seed(0)
    model = Sequential(Linear(8, 8), GELU(), Linear(8, 8), Linear(8, 1)).to(find_dtype(precision, torch.device("cpu"), "s"))
    named, head = model[2], model[3]
    quicken(model, precision, {head}, plain=("2",))
    assert type(model[0]) is kind
    assert model[2] is named
    assert type(model[3]) is (Float32Linear if precision == "bf16" else Linear)
    with torch.inference_mode():
        assert model(torch.randn(3, 8).to(named.weight.dtype)).dtype == torch.float32


def test_on_another_device_layers_stay() -> None:
    """Only a CPU's layers have something faster; the meta device stands for a GPU."""
    layer = Linear(4, 4, device="meta")
    assert choose(layer, "fp32", last=False) is layer


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
