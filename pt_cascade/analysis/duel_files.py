"""The duels of all pairwise stages as one frame, as a file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from pt_cascade.analysis.duels import Duels
from pt_cascade.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_cascade.analysis.preferences import Aggregation

_TYPES = {"stage": pa.string(), "first": pa.int64(), "second": pa.int64(), "p": pa.float64()}
DUELS = pa.schema([pa.field(name, kind, nullable=False) for name, kind in _TYPES.items()])


def write_duels(duels: Mapping[str, Duels]) -> pd.DataFrame:
    """Write the duels of all stages below each other.

    Args:
        duels: Of each stage, by its name; at least one.

    Returns:
        Frame[stage, first, second, p], with the columns of ``DUELS``.

    Example:
        >>> import numpy as np
        >>> one = Duels("sum", np.array([0, 1]), np.array([1, 0]), np.array([0.9, 0.2]))
        >>> frame = write_duels({"duo": one})
        >>> frame["p"].tolist(), read_duels(frame, {"duo": "sum"})["duo"].p.tolist()
        ([0.9, 0.2], [0.9, 0.2])
    """
    parts = [
        pd.DataFrame({"stage": [name] * len(each), "first": each.first, "second": each.second, "p": each.p}, columns=[*_TYPES])
        for name, each in duels.items()
    ]
    return pd.concat(parts, ignore_index=True)


def read_duels(frame: pd.DataFrame, aggregations: Mapping[str, Aggregation]) -> dict[str, Duels]:
    """Take them apart again.

    Args:
        frame: What ``write_duels`` wrote.
        aggregations: Of each stage, by its name.

    Raises:
        TableError: There are duels of another stage.
    """
    if strangers := sorted({*frame["stage"]} - {*aggregations}):
        raise TableError("these are not the duels of the stages", [f"there are some of {', '.join(strangers)}"])
    parts = {name: frame[frame["stage"] == name] for name in aggregations}
    return {
        name: Duels(aggregations[name], *(part[column].to_numpy() for column in ("first", "second", "p")))
        for name, part in parts.items()
    }
