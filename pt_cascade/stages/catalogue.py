"""The catalogue: every stage by name, its arguments, what its scores depend on, and the packages that it lacks."""

from __future__ import annotations

import inspect
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.stages.bi_encoder import bi_encoder
from pt_cascade.stages.bm25 import bm25
from pt_cascade.stages.cached import cached
from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.dense import dense
from pt_cascade.stages.duo_t5 import duo_t5
from pt_cascade.stages.hybrid import hybrid
from pt_cascade.stages.late_interaction import late_interaction
from pt_cascade.stages.llm_judge import llm_judge
from pt_cascade.stages.mono_t5 import mono_t5
from pt_cascade.stages.passages import passages

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyterrier as pt

POINT, PAIR, LIST = "query, document", "query, two documents", "the whole list"


@dataclass(frozen=True)
class Entry:
    """A stage; it needs one of ``packages`` beyond what pt_cascade itself needs."""

    make: Callable[..., pt.Transformer]
    depends: str
    packages: tuple[str, ...] = ()

    @property
    def does(self) -> str:
        """The first sentence of its documentation."""
        return (inspect.getdoc(self.make) or "").partition("\n\n")[0].replace("\n", " ")

    @property
    def arguments(self) -> str:
        """Its arguments with their defaults, without types."""
        bare = [one.replace(annotation=one.empty) for one in inspect.signature(self.make).parameters.values()]
        return str(inspect.Signature(bare))

    @property
    def lacks(self) -> str:
        """The package that it needs, if none of them is installed."""
        return "" if not self.packages or any(map(_is_there, self.packages)) else self.packages[0].replace("_", "-")


CATALOGUE: dict[str, Entry] = {
    "bm25": Entry(bm25, POINT, ("pyterrier_pisa", "java")),
    "dense": Entry(dense, POINT),
    "hybrid": Entry(hybrid, f"{POINT}; re-ranking: {LIST}"),
    "bi_encoder": Entry(bi_encoder, POINT),
    "late_interaction": Entry(late_interaction, POINT),
    "cross_encoder": Entry(cross_encoder, POINT),
    "mono_t5": Entry(mono_t5, POINT),
    "duo_t5": Entry(duo_t5, PAIR),
    "llm_judge": Entry(llm_judge, f"{POINT}; listwise: {LIST}", ("openai",)),
    "passages": Entry(passages, "as those of the stage that reads them"),
    "cached": Entry(cached, "as those of the cached stage"),
}


def list_stages() -> pd.DataFrame:
    """List the stages.

    Returns:
        Frame[stage, does, depends, arguments, lacks], a row a stage; ``lacks`` is the package to install, empty where ready.

    Example:
        >>> list_stages().query("stage == 'duo_t5'")["depends"].item()
        'query, two documents'
    """
    rows = [(name, entry.does, entry.depends, entry.arguments, entry.lacks) for name, entry in CATALOGUE.items()]
    return pd.DataFrame(rows, columns=["stage", "does", "depends", "arguments", "lacks"])


def _is_there(package: str) -> bool:
    if package == "java":
        return bool(shutil.which("java") or os.environ.get("JAVA_HOME"))
    return find_spec(package) is not None
