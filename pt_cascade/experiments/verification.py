"""Compares the numbers of an experiment with the expected ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.errors import did_you_mean
from pt_cascade.experiments.systems import normalise_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.experiments.schema import ExperimentFile, Numbers

State: TypeAlias = Literal["OK", "OKish", "FAIL"]
_NEAR = 1.5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One expected number."""

    part: str
    row: str
    column: str
    expected: float | str
    found: float | str | None
    tolerance: float
    state: State
    note: str = ""

    def __str__(self) -> str:
        found = "nothing" if self.found is None else self.found if isinstance(self.found, str) else f"{self.found:.6g}"
        more = "" if isinstance(self.expected, str) else f" ± {self.tolerance:g}"
        return f"{self.state:5} {self.part}, {self.row}, {self.column}: {found}, expected {self.expected}{more}{self.note}"


def verify_numbers(file: ExperimentFile, numbers: Numbers) -> Iterator[Check]:
    """Compare each expected number: OK within its tolerance, OKish within 1.5 times it, in either direction, else FAIL."""
    for part, rows in file.expected.items():
        found = numbers.get(part, {})
        for row, columns in rows.items():
            name = row if row in found else normalise_row(row)
            for column, wanted in columns.items():
                value, tolerance = found.get(name, {}).get(column), file.tolerance.get(column, 0.0)
                note = "" if value is not None else did_you_mean(*((column, found[name]) if name in found else (name, found)))
                yield Check(part, row, column, wanted, value, tolerance, _judge(wanted, value, tolerance), note)


def _judge(wanted: float | str, found: float | str | None, tolerance: float) -> State:
    """Judge one number, or a text, which is to be equal.

    Example:
        >>> [_judge(0.5, found, 0.01) for found in (0.51, 0.485, 0.516, None)]
        ['OK', 'OKish', 'FAIL', 'FAIL']
    """
    if isinstance(wanted, str) or isinstance(found, str) or found is None:
        same = isinstance(wanted, str) and isinstance(found, str) and normalise_row(wanted) == found
        return "OK" if same else "FAIL"
    apart = abs(found - wanted) - _ROUNDING
    return "OK" if apart <= tolerance else "OKish" if apart <= _NEAR * tolerance else "FAIL"
