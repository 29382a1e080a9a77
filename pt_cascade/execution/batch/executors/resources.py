"""The resources of a cluster that stages declare, and which stages share an actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pt_cascade.errors import CascadeError, did_you_mean
from pt_cascade.numbers import count_of, is_amount

Resources: TypeAlias = Mapping[str, Mapping[str, float]]
LEAVES_JAVA_ITS_SIGNALS = ("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # else it ends a process at Java's next null pointer
_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # of a request, and what a node calls them


@dataclass(frozen=True)
class Group:
    """Consecutive stages with equal resources, which one actor runs.

    Attributes:
        last: The name of its last stage.
        needs: How much of each resource its actor takes, by the name that nodes give it: ``CPU``, ``GPU``, ``memory`` in bytes, or
            a name of one's own.
    """

    last: str
    needs: Mapping[str, float]

    @property
    def options(self) -> dict[str, object]:
        """The resources as options of an actor."""
        own = {name: amount for name, amount in self.needs.items() if name not in _NAMES.values()}
        known = {asked: self.needs[name] for asked, name in _NAMES.items() if name in self.needs}
        return {"num_cpus": 0, **known, "resources": own}


def group_stages(stages: Sequence[str], resources: Resources | None, threads: int) -> list[Group]:
    """Group consecutive stages with equal resources; what names none takes as many CPUs as it has threads."""
    _check(stages, {} if resources is None else resources)
    groups: list[Group] = []
    for stage in stages:
        declared = {"num_cpus": threads, **(resources or {}).get(stage, {})}
        needs = {_NAMES.get(name, name): amount for name, amount in declared.items() if amount}
        if groups and groups[-1].needs == needs:
            groups.pop()
        groups.append(Group(stage, needs))
    return groups


def _check(stages: Sequence[str], resources: object) -> None:
    """Refuse resources that are not those of stages, all problems at once."""
    fix = f'resources={{"{stages[-1]}": {{"num_gpus": 1}}}}'
    if not isinstance(resources, Mapping):
        raise CascadeError("resources are not valid", [f"they are {resources!r:.60}, expected a dict by stage name"], fix=fix)
    problems = []
    for stage, declared in resources.items():
        if stage not in stages:
            problems.append(f"there is no stage {stage!r}; the stages are {', '.join(stages)}{did_you_mean(stage, stages)}")
        if not isinstance(declared, Mapping):
            problems.append(f"those of {stage!r} are {declared!r:.60}, expected a dict such as {{'num_gpus': 1}}")
            continue
        problems += [
            f"{name!r} of {stage!r} is {amount!r}, expected 0 or more" for name, amount in declared.items() if not is_amount(amount)
        ]
    if problems:
        raise CascadeError("resources are not valid", problems, fix=fix)


def check_feasible(groups: Sequence[Group], workers: int, nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse what the nodes, each given by what it has of each resource, could not hold even if nothing else used them."""
    problems = [
        f"the stages up to {group.last!r} need {show_amounts(group.needs)} on one node, which no node has"
        for group in groups
        if not any(all(node.get(name, 0) >= amount for name, amount in group.needs.items()) for node in nodes)
    ]
    for name in [] if problems else dict.fromkeys(name for group in groups for name in group.needs):
        needed, there = workers * sum(group.needs.get(name, 0) for group in groups), sum(node.get(name, 0) for node in nodes)
        if needed > there:
            problems.append(f"{count_of(workers, 'worker')} with {needed:,g} {name} in all, all nodes have {there:,g} {name}")
    if problems:
        shown = [{name: amount for name, amount in node.items() if name in ("CPU", "GPU") or _is_own(name)} for node in nodes]
        problems += [
            f"{count_of(shown.count(kind), 'node')} with {show_amounts(kind)}"
            for n, kind in enumerate(shown)
            if kind not in shown[:n]
        ]
        raise CascadeError("the cluster cannot run this", problems, fix="fewer workers, resources that a node has, or more nodes")


def show_amounts(amounts: Mapping[str, float]) -> str:
    """Show resources: ``2 CPU, 1 GPU``."""
    return ", ".join(f"{amount:,g} {name}" for name, amount in sorted(amounts.items())) or "nothing"


def _is_own(name: str) -> bool:
    """Whether a resource of a node is none that Ray counts by itself."""
    return name not in _NAMES.values() and not name.startswith(("node:", "object_store_memory", "accelerator_type:"))
