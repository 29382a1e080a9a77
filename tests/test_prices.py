"""Prices: those of the built-in file with their dates, and a user's own file or what is wrong with it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.prices import price_of, read_prices
from pt_cascade.analysis.stage_costs import StageCost
from pt_cascade.errors import CascadeError

HEAD = "name,unit,usd,seen,source\n"


def test_the_built_in_prices_have_a_date_and_a_source() -> None:
    """Golden: 2.00 and 2.50 $ a thousand searches; 0.05, 0.02 and 0.025 $ a million tokens, as they were reported."""
    prices = read_prices().set_index("name")
    assert prices.index.is_unique
    assert (1000 * prices.loc[["cohere-rerank-3.5", "cohere-rerank-4-pro"], "usd"]).tolist() == [2.0, 2.5]
    tokens = ["voyage-rerank-2.5", "voyage-rerank-2.5-lite", "zerank-2"]
    assert (1e6 * prices.loc[tokens, "usd"]).tolist() == pytest.approx([0.05, 0.02, 0.025])
    assert set(prices["unit"]) == {"token", "search", "hour"}
    assert all(dt.date.fromisoformat(day).year == 2026 for day in prices["seen"])
    assert prices.loc[prices.index != "zerank-2", "source"].str.startswith("third-party report").all()


@pytest.mark.parametrize("unit", ["token", "search", "hour"])
def test_a_price_goes_to_the_field_of_its_unit(unit: str, tmp_path: Path) -> None:
    """And leaves the rest of the cost as it was."""
    path = tmp_path / "prices.csv"
    path.write_text(f'{HEAD}mine,{unit},0.5,2026-11-01,"our bill, October"\n', encoding="utf-8")
    cost = StageCost("t5", 1, 2, tokens_per_doc=3)
    assert cost.priced("mine", path) == StageCost("t5", 1, 2, tokens_per_doc=3, **{f"usd_per_{unit}": 0.5})
    assert price_of("mine", path).source == "our bill, October"


@given(st.lists(st.tuples(st.floats(0, 1e9), st.sampled_from(["token", "search", "hour"]), st.dates()), max_size=5))
def test_a_file_is_read_as_it_stands(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, str, dt.date]]) -> None:
    """Any numbers, units and days, line by line; a byte order mark does not matter."""
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    lines = [f"p{n},{unit},{usd!r},{day.isoformat()},s\n" for n, (usd, unit, day) in enumerate(rows)]
    path.write_text(HEAD + "".join(lines), encoding="utf-8-sig")
    expected = [[f"p{n}", unit, usd, day.isoformat(), "s"] for n, (usd, unit, day) in enumerate(rows)]
    assert read_prices(path).to_numpy().tolist() == expected


COLUMNS = "expected name, unit, usd, seen, source"
BAD = {
    "no header": (b"", f"its columns are none, {COLUMNS}"),
    "other header": (b"name,usd\na,1\n", f"its columns are name, usd, {COLUMNS}"),
    "not UTF-8": (HEAD.encode() + b"\xff\n", "it is not UTF-8: invalid start byte"),
    "unit": (f"{HEAD}a,day,1,2026-01-01,s\n".encode(), "line 2: unit is 'day', expected one of token, search, hour"),
    "usd": (f"{HEAD}a,hour,-1,2026-01-01,s\n".encode(), "line 2: usd is '-1', expected a number from 0"),
    "usd is nan": (f"{HEAD}a,hour,nan,2026-01-01,s\n".encode(), "line 2: usd is 'nan', expected a number from 0"),
    "short": (f"{HEAD}a,hour,1\n".encode(), "line 2: it has not 5 fields; a comma within one needs quotes"),
    "long": (f"{HEAD}a,hour,1,2026-01-01,s,t\n".encode(), "line 2: it has not 5 fields; a comma within one needs quotes"),
    "twice": (f"{HEAD}a,hour,1,2026-01-01,s\na,hour,1,2026-01-01,s\n".encode(), "line 3: a stands already in an earlier line"),
    "several": (
        f"{HEAD},hour,1,yesterday,s\nb,hour,free,2026-01-01,s\n".encode(),
        "\n  - line 2: it has no name\n  - line 2: seen is 'yesterday', expected a day such as 2026-10-18"
        "\n  - line 3: usd is 'free', expected a number from 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_price_file_is_refused(case: str, tmp_path: Path) -> None:
    """With the exact message: the file, the line, all faults at once."""
    data, message = BAD[case]
    path = tmp_path / "mine.csv"
    path.write_bytes(data)
    with pytest.raises(CascadeError) as error:
        read_prices(path)
    assert str(error.value) == f"cannot read the prices of {path}:{'' if message.startswith(chr(10)) else ' '}{message}"


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    """A file, or a price, with those there are."""
    with pytest.raises(CascadeError) as error:
        read_prices(tmp_path / "none.csv")
    assert str(error.value) == f"there is no price file {tmp_path / 'none.csv'}"
    with pytest.raises(CascadeError) as error:
        price_of("gpt")
    assert str(error.value) == (
        f"there is no price 'gpt': the built-in file has {', '.join(read_prices()['name'])}. "
        "Fix: StageCost(..., usd_per_token=...), or a price file of your own"
    )
