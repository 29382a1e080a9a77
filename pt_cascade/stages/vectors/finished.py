"""A folder of vectors that is there already: whether it is what would be made there now."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.provenance import differences, know_weights, other_limits
from pt_cascade.stages.vectors.pyterrier_dr import UpstreamEncoder
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.collections.intake import Intake
    from pt_cascade.stages.vectors.provenance import Maker
    from pt_cascade.stages.vectors.query_encoder import AnyEncoder
    from pt_cascade.stages.vectors.store import VectorStore

_SHOWN = 3


def check_finished(path: Path, intake: Intake, encoder: AnyEncoder, *, tokens: bool) -> None:
    """Refuse a folder that is not what was asked for: its maker first, then, in one pass over the texts, its documents.

    A model is loaded only where its files are not those that are recorded. In a folder that does not record texts, docnos are
    compared.

    Args:
        path: The folder.
        intake: The documents, not read yet.
        encoder: Who would encode them.
        tokens: Whether token vectors are wanted.

    Raises:
        CascadeError: It is not ours, or was made by another model, in another way or from other documents.
        FrameError: A document is unfit.
    """
    store = open_vectors(path)
    if not store.ours:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:_SHOWN])
        problem = f"{path} holds {found}, ..., expected encoder.json and vecs.f4, or nothing"
        raise CascadeError("this folder is not made by build_vectors", [problem], fix="choose another path")
    own = _ask(store.encoder, encoder)
    problems = [*differences(store.encoder, own, by_name=True), *other_limits(store.encoder, own)]
    if tokens and not (path / "tokens.npy").exists():
        problems.append(f"{path} has no token vectors")
    if problems := problems or _compare_documents(store, intake):
        raise CascadeError("there are other vectors already", problems, fix=rm_command(path))


def _ask(found: Maker, encoder: AnyEncoder) -> Maker:
    """Ask an encoder what it is, no more than is needed to tell it from what is recorded."""
    if isinstance(encoder, UpstreamEncoder):
        return encoder.maker if found.get("probe") else encoder.told
    if not (weights := know_weights(found)):
        return encoder.told
    if found.get("class") is None and found.get("files") and found["files"] == encoder.files:
        return {**encoder.told, "weights": weights, "limit": found.get("limit")}
    return encoder.maker


def _compare_documents(store: VectorStore, intake: Intake) -> list[str]:
    """Say where documents differ from those that were encoded, if they do."""
    known = store.docnos
    for place, (doc, docno) in enumerate(zip_longest(intake, known), 1):
        if doc is None and intake.error is not None:
            raise intake.error
        if doc is None or doc["docno"] != docno:
            was = "is not in it" if docno is None else f"was {docno!r}"
            return [f"document {place} {was} and is {'not there' if doc is None else repr(doc['docno'])}"]
    intake.verify()
    if intake.content != store.encoder.get("content", intake.content):
        return [f"the text of a document is another than was encoded, though its {len(known)} docnos are the same"]
    return []
