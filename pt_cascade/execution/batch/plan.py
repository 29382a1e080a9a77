"""The plan of a run: all that its bytes depend on. It stands in the manifest, and a run is resumed only with an equal one."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.cascade.fingerprints import fingerprint, hash_frame
from pt_cascade.errors import CascadeError, did_you_mean
from pt_cascade.execution.runner import refuse_whole, split_rows
from pt_cascade.execution.versions import versions
from pt_cascade.numbers import is_several, is_whole
from pt_cascade.trec.lines import ID, refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from pt_cascade.cascade import Cascade
    from pt_cascade.ranking import Ints

ALL = ("all",)


@dataclass(frozen=True)
class Settings:
    """How the queries are split, and what is written.

    Attributes:
        shard_queries: Queries of a shard, 1 or more.
        query_batch_size: Queries that pass the stages together, 1 or more.
        threads: Threads of a worker, 1 or more.
        prefixes: Names of stages whose ranking is written too; ``("all",)``: of all but the last.
        tag: The tag of the run, one word.
    """

    shard_queries: int
    query_batch_size: int
    threads: int
    prefixes: Sequence[str]
    tag: str

    def files(self, stages: Sequence[str]) -> dict[str, str]:
        """Return the file of each ranking by its stage, "" for the last one's."""
        named = {name: f"prefix-{stages.index(name) + 1}-{quote(name, safe=' ')}.res.gz" for name in self.prefixes}
        return {**named, "": "run.res.gz"}


@dataclass(frozen=True)
class Shard:
    """Some queries of a run: the first and the last qid in topic order, and how many there are."""

    first: str
    last: str
    queries: int


@dataclass(frozen=True)
class Plan:
    """What the bytes of a run depend on.

    Attributes:
        cascade: Its stages, options and package versions, see ``describe_cascade``.
        settings: How the queries are split, and what is written.
        topics: The hash of the topics.
        shards: In topic order.
    """

    cascade: Mapping[str, str]
    settings: Settings
    topics: str
    shards: tuple[Shard, ...]

    @property
    def stages(self) -> list[str]:
        """The names of the stages in order."""
        return [name.removeprefix("stage ") for name in self.cascade if name.startswith("stage ")]

    def differences(self, other: Plan) -> list[str]:
        """List what differs from another plan, the other's value first."""
        mine, theirs = ({**plan.cascade, **asdict(plan.settings), "topics": plan.topics} for plan in (self, other))
        names = dict.fromkeys([*theirs, *mine])
        shown = {name: (theirs.get(name, "none"), mine.get(name, "none")) for name in names}
        return [f"{name} was {was}, is {now}" for name, (was, now) in shown.items() if was != now]

    def to_json(self) -> dict[str, object]:
        """Return it as values of JSON."""
        return {**asdict(self), "shards": [[shard.first, shard.last, shard.queries] for shard in self.shards]}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Plan:
        """Read what ``to_json`` returns; LookupError, TypeError or ValueError if it is something else."""
        cascade, settings, topics, shards = (values[name] for name in ("cascade", "settings", "topics", "shards"))
        if not (isinstance(cascade, dict) and isinstance(settings, dict) and isinstance(shards, list)):
            raise TypeError("it is not a plan")
        read = Settings(**{**settings, "prefixes": tuple(settings["prefixes"])})
        return cls(cascade, read, str(topics), tuple(Shard(*shard) for shard in shards))


def describe_cascade(cascade: Cascade) -> dict[str, str]:
    """Describe what a cascade's rankings depend on: cut-offs, fusion, options, the fingerprint of each stage, package versions."""
    stages = {f"stage {stage.name}": fingerprint(stage) for stage in cascade}
    options = [(stage.name, stage.on_error, stage.time_limit_ms) for stage in cascade if stage.runs_by_query]
    packages = {f"version of {name}": version for name, version in versions().items()}
    return {
        "cascade": repr(cascade),
        "fusion": repr(cascade.fusion),
        **stages,
        "tail": cascade.tail,
        "options": str(options),
        **packages,
    }


def make_plan(cascade: Cascade, topics: pd.DataFrame, settings: Settings) -> tuple[Plan, list[Ints]]:
    """Return the plan of a cascade over topics, and the rows of each shard."""
    refuse_whole(cascade)
    refuse_unwritable(topics, {"qid": ID}, "run.res.gz", [] if len(topics) else ["there are no topics"])
    checked = check_settings(settings, cascade)
    parts = split_rows(topics, checked.shard_queries)
    qids = [topics["qid"].take(rows).unique() for rows in parts]
    shards = tuple(Shard(str(each[0]), str(each[-1]), len(each)) for each in qids)
    return Plan(describe_cascade(cascade), checked, hash_frame(topics), shards), parts


def check_settings(settings: Settings, cascade: Cascade) -> Settings:
    """Refuse settings that are not valid, all at once; put the prefixes in order, and stages in place of ``("all",)``."""
    counts = {name: getattr(settings, name) for name in ("shard_queries", "query_batch_size", "threads")}
    problems = [f"{name} is {value!r}, expected 1 or more" for name, value in counts.items() if not is_whole(value, least=1)]
    before, prefixes = [stage.name for stage in cascade][:-1], settings.prefixes
    if isinstance(prefixes, str) or not is_several(prefixes):
        problems.append(f"prefixes are {prefixes!r}, expected a list of stages")
    elif tuple(prefixes) != ALL:
        known = f"the stages before the last are {', '.join(before) or 'none'}"
        problems += [f"there is no prefix {one!r}; {known}{did_you_mean(one, before)}" for one in prefixes if one not in before]
    if not (isinstance(settings.tag, str) and re.fullmatch(ID, settings.tag)):
        problems.append(f"tag is {settings.tag!r}, expected one word")
    if problems:
        raise CascadeError("the run cannot be planned", problems, fix="shard_queries=100, prefixes=['all'], tag='mine'")
    ordered = tuple(name for name in before if name in prefixes or tuple(prefixes) == ALL)
    shard_queries, query_batch_size, threads = (int(value) for value in counts.values())
    return Settings(shard_queries, query_batch_size, threads, ordered, settings.tag)
