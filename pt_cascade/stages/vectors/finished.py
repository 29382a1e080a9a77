"""Compares an existing folder of vectors with the vectors that would be built now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.provenance import differences, shortest
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.collections.intake import Intake
    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.query_encoder import AnyEncoder


def check_finished(path: Path, intake: Intake, encoder: AnyEncoder, *, tokens: bool) -> None:
    """Refuse a folder that was made by another model or, once all documents are read, from other documents."""
    store = open_vectors(path)
    if not store.ours:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:3])
        problem = f"{path} holds {found}, ..., expected encoder.json and vecs.f4, or nothing"
        raise CascadeError("this folder is not made by build_vectors", [problem], fix="choose another path")
    problems = differences(store.encoder, _provenance(store.encoder, encoder))
    if tokens and not (path / "tokens.npy").exists():
        problems.append(f"{path} has no token vectors")
    if problems := problems or intake.find_changes(store.encoder.get("content"), lambda: store.docnos):
        raise CascadeError("the folder holds other vectors", problems, fix=rm_command(path))


def _provenance(found: Provenance, encoder: AnyEncoder) -> Provenance:
    """Return an encoder's provenance; its model is loaded only if its files are not those that are recorded."""
    if isinstance(encoder, Encoder) and found.get("files") and found["files"] == encoder.model_files:
        return {**found, "max_length": shortest(encoder.max_length, found.get("limit"))}
    return encoder.made_by
