"""Language models that answer yes or no: their output layer computes the two answers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, PipelineError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


def keep_answers(reader: CrossEncoder, name: str, label: int | str | None) -> int:
    """Cut a model's output layer down to yes and no, in float32; return the number of its only output. It has no ``label``."""
    from sentence_transformers.cross_encoder.modules import LogitScore  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.dtypes import Float32Linear  # noqa: PLC0415 - heavy

    if label is not None:
        problem = f"label is {label!r}, but the model answers yes or no"
        raise PipelineError("cannot choose a label", [problem], fix="cross_encoder(model)")
    score = reader[-1]
    if not isinstance(score, LogitScore) or len(reader) != 2:  # noqa: PLR2004 - the model, and what reads its answer
        problem = f"sentence-transformers reads it through {', '.join(type(module).__name__ for module in reader)}"
        raise MissingError(f"cannot rank by {name!r}", [problem], fix="a model that ends in a LogitScore module")
    answers = [number for number in (score.true_token_id, score.false_token_id) if number is not None]
    if len(set(answers)) < len(answers) or reader.tokenizer.unk_token_id in answers:
        found = " and ".join(map(repr, reader.tokenizer.convert_ids_to_tokens(answers)))
        problem = f"its tokenizer has no token for yes and for no, found {found}"
        fix = (
            'CrossEncoder(modules=[Transformer(model, transformer_task="text-generation"), LogitScore(true_token_id=..., '
            "false_token_id=...)]).save_pretrained(folder), of sentence-transformers, with the answers that it was trained on"
        )
        raise MissingError(f"cannot rank by {name!r}", [problem], fix=fix)
    model = reader.transformers_model
    model.set_output_embeddings(Float32Linear(model.get_output_embeddings(), answers))
    score.true_token_id, score.false_token_id = 0, 1 if len(answers) > 1 else None
    return 0
