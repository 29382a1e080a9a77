"""Hypothesis strategies that several tests share: retrievers, re-rankers and cut-offs of toys."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from pt_cascade.analysis.table.tie_rules import Order
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.tables import Fine

RETRIEVERS = st.builds(ToyRetriever, docs=st.integers(1, 14), levels=st.integers(1, 4), seed=st.integers(0, 9))
JUDGES = st.builds(
    lambda kind, *options: kind(*options),
    st.sampled_from([Judge, Fine]),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from(get_args(Order)),
    st.sampled_from(get_args(Order)),
)
CUTOFFS = st.one_of(st.none(), st.integers(1, 12))
