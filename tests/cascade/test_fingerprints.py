"""What a stage is, as a hash: equal for equal settings, in any process; other for others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from toys.judges import Judge
from toys.rankers import Counting, ToyReranker, ToyRetriever

from pt_cascade.cascade import Stage
from pt_cascade.cascade.fingerprints import describe, fingerprint, hash_frame
from pt_cascade.checksums import seal

WEIGHT = 0.5


def of(*transformers: pt.Transformer) -> str:
    """Fingerprint a stage of these."""
    return fingerprint(Stage("s", transformers))


def scoring(source: str, **names: object) -> pt.Transformer:
    """Compile a scoring function again."""
    space: dict[str, Any] = dict(names)
    exec(source, space)  # noqa: S102 - written in this file
    return pt.apply.doc_score(space["f"])


@dataclass(frozen=True)
class Setting(pt.Transformer):
    """A transformer of one setting, and what does not count."""

    value: object
    seen: list[tuple[str, str]] = field(default_factory=list)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Do nothing."""
        return inp

    @cached_property
    def model(self) -> float:
        """Made when first used."""
        return 1.0


class Plain:
    """An object of no value repr."""

    def __init__(self, size: int) -> None:
        """Keep one thing in sight and two out of it."""
        self.size = size
        self._file = object()


FUNCTION = "def f(row):\n    return len(row['docno']) * {}"
DIFFERENT = [
    (ToyRetriever(docs=3), ToyRetriever(docs=4)),
    (ToyReranker(), ToyRetriever()),
    (scoring(FUNCTION.format(2)), scoring(FUNCTION.format(3))),
    (scoring(FUNCTION.format("w"), w=2), scoring(FUNCTION.format("w"), w=3)),
    (scoring("def f(row, k=1): return k"), scoring("def f(row, k=2): return k")),
    (scoring("def f(row): return abs(1)"), scoring("def f(row): return int(1)")),
    (pt.apply.doc_score(partial(pow, 2)), pt.apply.doc_score(partial(pow, 3))),
    (pt.Transformer.from_df(pd.DataFrame({"qid": ["1"]})), pt.Transformer.from_df(pd.DataFrame({"qid": ["2"]}))),
    (ToyReranker() >> pt.RankCutoff(3), ToyReranker() >> pt.RankCutoff(4)),
    (Setting(1), Setting(1.0)),
    (Setting("1"), Setting(1)),
    (Setting({"a": 1}), Setting({"a": 2})),
    (Setting(("a", "b")), Setting(("ab",))),
    (Setting(["a", "b"]), Setting(["b", "a"])),
    (Setting(np.arange(4)), Setting(np.arange(4.0))),
    (Setting(np.arange(4).reshape(2, 2)), Setting(np.arange(4))),
    (Setting(Plain(1)), Setting(Plain(2))),
    (Setting(Path("a")), Setting(Path("b"))),
]


@pytest.mark.parametrize("pair", DIFFERENT, ids=[f"{left!r:.40}" for left, _ in DIFFERENT])
def test_another_setting_is_another_fingerprint(pair: tuple[pt.Transformer, pt.Transformer]) -> None:
    """Settings, code, constants, names, defaults, closures, data, nested or not."""
    left, right = pair
    assert of(left) != of(right)
    assert of(left, right) != of(right, left)
    assert of(left) == of(left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (ToyRetriever(docs=3), ToyRetriever(docs=3)),
        (scoring(FUNCTION.format(2)), scoring("\n\n" + FUNCTION.format(2))),
        (Setting({"a": 1, "b": 2}), Setting({"b": 2, "a": 1})),
        (Setting({"x", "y", "z"}), Setting({"z", "y", "x"})),
        (Setting(Plain(1)), Setting(Plain(1))),
        (Setting(np.arange(4)), Setting(np.arange(4))),
        (Counting(), Counting([("q", "d")])),
        (Judge(2), Judge(2)),
    ],
)
def test_the_same_settings_are_the_same_fingerprint(left: pt.Transformer, right: pt.Transformer) -> None:
    """Another object, another line of the file, another order of a dict, what a log holds: no difference."""
    assert of(left) == of(right)


def test_running_changes_nothing() -> None:
    """What a stage caches or writes down while it runs is not what it is; neither are its name, cut-off and declarations."""
    setting, judge = Setting(1), Judge()
    before = of(setting, judge)
    assert setting.model == 1.0
    judge.transform(pd.DataFrame({"qid": ["1"], "query": "q", "docno": "d"}))
    setting.seen.append(("q", "d"))
    assert of(setting, judge) == before
    assert fingerprint(Stage("other", (setting, judge), 10, "pointwise", "reranks", 0)) == before


def test_what_holds_itself_ends() -> None:
    """A structure that holds itself, or lies very deep, has a fingerprint too."""
    loop: dict[str, object] = {}
    loop["self"] = loop
    deep: tuple[object, ...] = ()
    for _ in range(100):
        deep = (deep,)
    assert len({of(Setting(loop)), of(Setting(deep)), of(Setting({}))}) == 3


def test_a_sealed_folder_may_be_moved(tmp_path: Path) -> None:
    """Its checksums count, not its path; another content counts, and so does the path of a folder without checksums."""
    for name, text in (("here", "1"), ("there", "1"), ("other", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vectors").write_text(text)
    assert of(Setting(tmp_path / "here")) != of(Setting(tmp_path / "there"))
    for name in ("here", "there", "other"):
        seal(tmp_path / name)
    for kind in (Path, str):
        here, there, other = (of(Setting(kind(tmp_path / name))) for name in ("here", "there", "other"))
        assert here == there != other


def test_another_process_gives_the_same() -> None:
    """Hash seeds and addresses do not count: lambdas, sets, frames and objects are known again tomorrow."""
    code = (
        "import pandas as pd, pyterrier as pt; from pt_cascade.cascade import Stage\n"
        "from pt_cascade.cascade.fingerprints import fingerprint\n"
        "f = lambda row: len(row['docno']) in {1, 2, 'a', 'b'}\n"
        "parts = (pt.apply.doc_score(f), pt.Transformer.from_df(pd.DataFrame({'qid': ['1']})))\n"
        "found = fingerprint(Stage('s', parts))"
    )
    here: dict[str, str] = {}
    exec(code, here)  # noqa: S102 - written above
    there = subprocess.run([sys.executable, "-c", f"{code}; print(found)"], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here["found"]


def test_a_model_is_known_by_its_weights() -> None:
    """A model with one other weight is another stage; the same one, loaded again, is not."""
    import torch

    def model(last: float) -> torch.nn.Module:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        layer.weight.data[-1, -1] = last
        return layer

    assert of(Setting(model(0))) == of(Setting(model(0))) != of(Setting(model(1)))


def test_a_frame_is_hashed_by_content() -> None:
    """Values, types, column names and row order count; the index does not, nor whether text is str or object."""
    frame = pd.DataFrame({"qid": ["1", "2"], "vec": [np.zeros(3), np.ones(3)], "n": [1, 2]})
    assert hash_frame(frame) == hash_frame(frame.set_index(pd.Index([7, 8]))) == hash_frame(frame.astype({"qid": object}))
    others = [
        frame.iloc[::-1],
        frame.rename(columns={"n": "m"}),
        frame.astype({"n": float}),
        frame.assign(vec=[np.zeros(3), np.zeros(3)]),
        frame.assign(qid=["12", ""]),
        frame.assign(qid=["1", None]),
    ]
    assert len({hash_frame(one) for one in (frame, *others)}) == 7


def test_a_description_has_no_addresses_and_an_end() -> None:
    """What is shown of a stage is the same tomorrow, and fits on a screen."""
    told = describe(Stage("s", (Setting(Plain(1)),)))
    assert "Plain object>" in told
    assert " at 0x" not in told
    assert len(describe(Stage("s", (Setting("x" * 999),)))) == 300


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("/home/me/my indexes/vaswani", "'vaswani'"),
        (Path("/home/me/vaswani"), "PosixPath('vaswani')"),
        ("~/models/minilm", "'minilm'"),
        ("../vaswani", "'vaswani'"),
        ("org/model", "'org/model'"),
        ("a/b or c/d", "'a/b or c/d'"),
        (OSError("see /home/me/index, or x"), "see index, or x"),
    ],
)
def test_a_description_has_no_folder_of_this_machine(setting: object, shown: str) -> None:
    """It is stored in a table that may be published: of a path only the last name stays, and names on a hub stay whole."""
    described = describe(Stage("s", (Setting(setting),)))
    assert shown in described
    assert "home" not in described
