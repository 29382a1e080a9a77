"""The time of each stage for each query at several depths: the data of ``Timings``, which documents them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode: TypeAlias = Literal["interactive", "throughput"]
Per: TypeAlias = Literal["pair", "token"]
COLUMNS = ("stage", "qid", "repeat", "share", "docs_in", "docs_ranked", "docs_out", "tokens", "ms")
COUNTS = ("repeat", "docs_in", "docs_ranked", "docs_out")
KEYS = ("stage", "qid", "repeat", "share")


@dataclass(frozen=True, eq=False, repr=False)
class TimingData:
    """The data of ``Timings``."""

    frame: pd.DataFrame
    mode: Mode = "interactive"
    machine: Mapping[str, str] = field(default_factory=dict)
    pairwise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a frame that holds no timings, all problems at once."""
        lacking = [name for name in COLUMNS if name not in self.frame]
        if lacking:
            found = ", ".join(map(str, self.frame.columns)) or "none"
            raise TableError("these are not timings", [f"missing column(s) {', '.join(lacking)}, found {found}"])
        if problems := self._problems():
            raise TableError("these are not timings", problems)

    def _problems(self) -> list[str]:
        """List what would make a cost wrong."""
        problems = [] if self.mode in get_args(Mode) else [f"mode is {self.mode!r}, expected one of {', '.join(get_args(Mode))}"]
        if not len(self.frame):
            return [*problems, "there are no rows"]
        problems += [
            f"pairwise names {name!r}, expected a stage after the first" for name in self.pairwise if name not in self.stages[1:]
        ]
        for name in (*COUNTS, "share", "tokens", "ms"):
            problems += _check_column(name, self.frame[name])
        runs = len(self.frame[["qid", "repeat", "share"]].drop_duplicates())
        if self.frame.duplicated(list(KEYS)).any():
            problems.append(
                f"{int(self.frame.duplicated(list(KEYS)).sum())} row(s) repeat the ({', '.join(KEYS)}) of an earlier row"
            )
        elif len(self.frame) != runs * len(self.stages):
            problems.append(
                f"{len(self.frame)} row(s) for {runs} run(s) of {len(self.stages)} stage(s), expected {runs * len(self.stages)}"
            )
        elif len(self.frame) != len(self.stages) * len(self.shares) * len(self.frame[["qid", "repeat"]].drop_duplicates()):
            problems.append(f"not every query was run at every share of {', '.join(f'{share:g}' for share in self.shares)}")
        return problems

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages, in order."""
        return tuple(self.frame["stage"].unique())

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the cut-offs, the largest first."""
        return tuple(sorted(self.frame["share"].unique().tolist(), reverse=True))

    @property
    def queries(self) -> int:
        """How many different queries were timed."""
        return int(self.frame["qid"].nunique())

    def __repr__(self) -> str:
        repeats = int(self.frame["repeat"].nunique())
        shares = ", ".join(f"{share:g}" for share in self.shares)
        stages = ", ".join(self.stages)
        return f"{type(self).__name__}({stages}: {self.queries} queries, {repeats} repeats, shares {shares}, {self.mode})"


def _check_column(name: str, column: pd.Series[float]) -> list[str]:
    """List what is wrong with a column of numbers."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return [f"{name} is {column.dtype}, expected numbers"]
    values = column.to_numpy(np.float64, na_value=np.nan)
    good = np.isfinite(values) & (values >= 0) & ((values == np.floor(values)) | (name not in COUNTS))
    bad = ~(good | (np.isnan(values) & (name == "tokens")))
    if not bad.any():
        return []
    return [f"{name} is {values[bad][0]:g} in row {int(bad.argmax())}, expected {'whole ' * (name in COUNTS)}numbers, 0 or more"]
