"""The side file of a run, as ir_metadata 0.1 describes runs (Breuer et al., SIGIR 2022; https://www.ir-metadata.org)."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import yaml

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.execution.batch.provenance.calls import read_calls
from pt_cascade.execution.machine import describe_machine
from pt_cascade.files import write_file
from pt_cascade.stages.base.identity import identify_any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.plan import Plan

NAME = "run.ir_metadata"
_TOOLKITS = ("pt_cascade", "python-terrier", "pyterrier")


def describe_stages(cascade: Cascade) -> list[dict[str, object]]:
    """Describe the stages as ``retrieval`` of ir_metadata: class, cut-off, and what scores depend on: models with revisions."""
    described: list[dict[str, object]] = []
    for stage in cascade:
        scorer = stage.transformers[stage.scorer]
        entry: dict[str, object] = {
            "name": stage.name,
            "method": f"{type(scorer).__module__}.{type(scorer).__qualname__}",
            "cutoff": stage.cutoff,
        }
        with suppress(MissingError, PipelineError):  # a stage without an identity has its fingerprint in the plan
            entry["params"] = {name: value for name, value in identify_any(scorer).items() if name != "class"}
        described.append({**entry, **({"reranks": described[-1]["name"]} if described else {})})
    if cascade.fusion is not None:
        names, weights = zip(*cascade.fusion.weights, strict=True)
        described.append({"name": "fusion", "method": cascade.fusion.method, "interpolates": [*names], "weight": [*weights]})
    return described


def write_metadata(run: Path, plan: Plan, counts: Mapping[str, object]) -> None:
    """Write the side file of a finished run, unless it is there: its ``actor`` and ``research goal`` are for you to fill in."""
    if (run / NAME).exists():
        return
    calls = read_calls(run)
    last: dict[str, dict[str, object]] = {"method": {}, "implementation": {}, "data": {}, **(calls[-1] if calls else {})}
    packages = [found.metadata for found in distributions()]
    python = sorted({f"{found['Name']}=={found['Version']}" for found in packages}, key=str.lower)
    software = {"libraries": {"python": python}, "retrieval toolkit": [one for one in python if one.startswith(_TOOLKITS)]}
    content = {
        "schema-version": 0.1,
        "run-version": 1.0,
        "tag": plan.settings.tag,
        "platform": {**last.get("platform", describe_machine()), "software": software},
        "research goal": None,
        "implementation": last["implementation"],
        "method": {"automatic": True, "score ties": "reverse alphabetical order", **last["method"], "plan": dict(plan.cascade)},
        "actor": None,
        "data": {"test collection": {**last["data"], "topics": f"hash {plan.topics}", "queries": counts["queries"]}},
        "resources": [call["resources"] for call in calls],
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_file(run / NAME, f"ir_metadata.start\n{text}ir_metadata.end\n".encode())
