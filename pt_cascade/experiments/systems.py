"""The systems of an experiment: each combination of its stages, with its cut-offs and fusions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from pt_cascade.analysis.fusion.stage_fusion import StageFusion
from pt_cascade.analysis.grid.cutoffs import name_cascade
from pt_cascade.experiments.cascade_file import name_stage, write_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.experiments.schema import ExperimentFile

_LONGEST = 120  # characters of a file's name


@dataclass(frozen=True)
class System:
    """One combination of stages.

    Attributes:
        stages: The texts of the stages.
        labels: What rows call them: their names, or their texts where another stage of the experiment has that name, too.
        axes: The cut-offs of each stage.
        fusions: What is tried at each vector of cut-offs; None: the last stage's own ranking.
    """

    stages: tuple[str, ...]
    labels: tuple[str, ...]
    axes: tuple[tuple[int | None, ...], ...]
    fusions: tuple[StageFusion | None, ...]

    @property
    def name(self) -> str:
        """The labels of the stages."""
        return " >> ".join(self.labels)

    def row(self, cutoffs: tuple[int | None, ...], fusion: StageFusion | None = None) -> str:
        """Name the system at some cut-offs, e.g. ``bm25 → 100 · mono_t5``."""
        return name_cascade(self.labels, cutoffs, fusion)

    def begins(self, other: System) -> bool:
        """Whether another system has these stages first, at the same cut-offs."""
        n = len(self.stages)
        return (other.stages[:n], other.axes[:n]) == (self.stages, self.axes)

    @property
    def vectors(self) -> list[tuple[int | None, ...]]:
        """Every combination of the cut-offs."""
        return [*product(*self.axes)]

    @property
    def deepest(self) -> tuple[int | None, ...]:
        """The largest cut-off of each stage."""
        return tuple(None if None in axis else max(k for k in axis if k) for axis in self.axes)

    def line(self, fusion: StageFusion | None = None) -> str:
        """Return the deepest system in the notation of ``parse_cascade``."""
        stages, cutoffs = self.stages, self.deepest
        if fusion is not None:
            stages, cutoffs = (*stages, repr(fusion)), (*cutoffs[:-1], None, cutoffs[-1])
        return write_line([*zip(stages, cutoffs, strict=True)])


def list_systems(file: ExperimentFile) -> list[System]:
    """Return the systems of an experiment, those with fewer stages first; a script has none."""
    return sorted(dict.fromkeys(_combine(file)), key=lambda one: len(one.stages))


def longest(systems: list[System]) -> list[System]:
    """Return the systems with the most stages."""
    return [one for one in systems if len(one.stages) == len(systems[-1].stages)]


def normalise_row(text: str) -> str:
    """Return a row in the form in which results have it.

    Example:
        >>> normalise_row("bm25 % 1000 >> bi_encoder % 100")
        'bm25 → 1000 · bi_encoder → 100'
    """
    return text.replace(" % ", " → ").replace(" >> ", " · ")


def name_file(text: str) -> str:
    """Name a file after a row.

    Example:
        >>> name_file("bm25 → 1000 · bi_encoder → 100")
        'bm25-1000-bi_encoder-100'
    """
    name = re.sub(r"[^\w.=@]+", "-", text).strip("-")
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _combine(file: ExperimentFile) -> Iterator[System]:
    if not file.stages:
        return
    texts = {one for axis in file.stages for one in axis.stage if one is not None}
    counts = Counter(map(name_stage, texts))
    labels = {one: one if counts[name_stage(one)] > 1 else name_stage(one) for one in texts}
    for combination in product(*(axis.stage for axis in file.stages)):
        kept = [(stage, axis.cutoff) for stage, axis in zip(combination, file.stages, strict=True) if stage is not None]
        for n in range(1 if file.prefixes else len(kept), len(kept) + 1):
            names = {name_stage(stage) for stage, _ in kept[:n]}
            fitting = [one for one in file.fusion if one is None or {*one} <= names]
            fusions = tuple(None if one is None else StageFusion(one) for one in fitting) or (None,)
            stages, axes = zip(*kept[:n], strict=True)
            yield System(stages, tuple(labels[one] for one in stages), axes, fusions)
