"""What a token, a search unit or an hour of a GPU costs: a small file with the day each price was seen, which you can replace."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pandas as pd

from pt_cascade.errors import MissingError, SweepError

if TYPE_CHECKING:
    import os

    from pt_cascade.analysis.stage_costs import StageCost

Unit: TypeAlias = Literal["token", "search", "hour"]
_UNITS: dict[str, Unit] = {unit: unit for unit in get_args(Unit)}
COLUMNS = ("name", "unit", "usd", "seen", "source")
_OWN = Path(__file__).with_name("prices.csv")


@dataclass(frozen=True)
class Price:
    """What one thing costs.

    Attributes:
        name: What the price file calls it.
        unit: ``token``, ``search`` (a query with each started 100 documents) or ``hour`` (of the machine, while the stage runs).
        usd: US dollars a unit.
        seen: The day it was seen, as ``2026-10-18``.
        source: Who said so.
    """

    name: str
    unit: Unit
    usd: float
    seen: str
    source: str

    def put(self, cost: StageCost) -> StageCost:
        """Return a stage's cost with this price in it."""
        usd = {"token": cost.usd_per_token, "search": cost.usd_per_search, "hour": cost.usd_per_hour, self.unit: self.usd}
        return replace(cost, usd_per_token=usd["token"], usd_per_search=usd["search"], usd_per_hour=usd["hour"])


def read_prices(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Read a price file: prices change, so look at ``seen``, and replace the file when you need to be sure.

    Args:
        path: A CSV file of name, unit, usd, seen, source, in UTF-8; None: the built-in one, most of it reported by third parties.

    Returns:
        Frame[name, unit, usd, seen, source], one row a price, as in the file.

    Raises:
        MissingError: There is no such file.
        SweepError: It is no price file; all its faults at once.

    Example:
        >>> read_prices().loc[2, ["name", "unit", "usd", "seen"]].to_dict()
        {'name': 'cohere-rerank-4-pro', 'unit': 'search', 'usd': 0.0025, 'seen': '2026-10-18'}
    """
    return pd.DataFrame(_read(path), columns=list(COLUMNS))


def price_of(name: str, path: str | os.PathLike[str] | None = None) -> Price:
    """Look one price up.

    Args:
        name: What the price file calls it.
        path: As for ``read_prices``.

    Raises:
        MissingError: There is no such file.
        SweepError: It has no such price, or is no price file.

    Example:
        >>> price_of("voyage-rerank-2.5").usd
        5e-08
    """
    prices = {price.name: price for price in _read(path)}
    if name not in prices:
        file = "the built-in file" if path is None else str(path)
        problem = f"{file} has {', '.join(prices) or 'none'}"
        raise SweepError(
            f"there is no price {name!r}", [problem], fix="StageCost(..., usd_per_token=...), or a price file of your own"
        )
    return prices[name]


def _read(path: str | os.PathLike[str] | None) -> list[Price]:
    """Read a price file line by line."""
    file = _OWN if path is None else Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingError(f"there is no price file {file}") from None
    except UnicodeDecodeError as error:
        raise SweepError(f"cannot read the prices of {file}", [f"it is not UTF-8: {error.reason}"]) from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(rows.fieldnames or ()) != COLUMNS:
        problem = f"its columns are {', '.join(rows.fieldnames or ()) or 'none'}, expected {', '.join(COLUMNS)}"
        raise SweepError(f"cannot read the prices of {file}", [problem])
    prices, problems, names = [], [], set()
    for row in rows:
        faults = [f"line {rows.line_num}: {fault}" for fault in _faults(row)]
        if row["name"] in names:
            faults.append(f"line {rows.line_num}: {row['name']} stands already in an earlier line")
        names.add(row["name"])
        problems += faults
        prices += [] if faults else [Price(row["name"], _UNITS[row["unit"]], float(row["usd"]), row["seen"], row["source"])]
    if problems:
        raise SweepError(f"cannot read the prices of {file}", problems)
    return prices


def _faults(row: dict[str, str]) -> list[str]:
    """Look for what makes a line no price."""
    if None in row or None in row.values():
        return [f"it has not {len(COLUMNS)} fields; a comma within one needs quotes"]
    faults = [] if row["name"] else ["it has no name"]
    if row["unit"] not in _UNITS:
        faults.append(f"unit is {row['unit']!r}, expected one of {', '.join(_UNITS)}")
    if not 0 <= _number(row["usd"]) < math.inf:
        faults.append(f"usd is {row['usd']!r}, expected a number from 0")
    try:
        dt.date.fromisoformat(row["seen"])
    except ValueError:
        faults.append(f"seen is {row['seen']!r}, expected a day such as 2026-10-18")
    return faults


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
