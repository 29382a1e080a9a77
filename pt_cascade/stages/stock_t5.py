"""The stock re-rankers of pyterrier_t5, for papers that must repeat what was measured with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.loading import find_device, loading
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyterrier as pt
    from transformers import PretrainedConfig

_BATCH_SIZE = 4
_CLASSES = {
    ("mono_t5", "t5"): "MonoT5ReRanker",
    ("mono_t5", "mt5"): "mT5ReRanker",
    ("duo_t5", "t5"): "DuoT5ReRanker",
}


def check_options(compat: str | None, batch_size: int | None, changed: Sequence[str], *, stage: str = "mono_t5") -> None:
    """Refuse what the stock re-ranker has no argument for.

    Args:
        compat: ``"pyterrier_t5"``, or None: then a batch size has no meaning.
        batch_size: Documents, or pairs of them, a batch; None is the stock default.
        changed: The options, of those the stock re-ranker lacks, that were given a value.
        stage: ``mono_t5`` or ``duo_t5``.

    Raises:
        PipelineError: What does not go together, all of it.

    Example:
        >>> check_options("pyterrier_t5", 8, [])
    """
    problems = []
    if compat is None:
        problems.append(f"batch_size is {batch_size}, but its batches are measured in tokens, batch_tokens")
    elif compat != "pyterrier_t5":
        problems.append(f"compat is {compat!r}, expected 'pyterrier_t5' or None")
    if batch_size is not None and batch_size < 1:
        problems.append(f"batch_size is {batch_size}, expected 1 or more")
    if compat is not None and changed:
        problems.append(f"the stock re-ranker has no {', '.join(changed)}")
    if problems:
        raise PipelineError(f"{stage} cannot be made", problems, fix=f'{stage}(model, compat="pyterrier_t5", batch_size=4)')


def load_stock(  # the arguments of the stock re-ranker, by its names
    config: PretrainedConfig,
    model: str,
    tokenizer: str,
    batch_size: int | None,
    *,
    text_field: str,
    device: str | None,
    verbose: bool,
    stage: str = "mono_t5",
) -> pt.Transformer:
    """Load ``pyterrier_t5.MonoT5ReRanker``, its ``mT5ReRanker`` for an mT5 checkpoint, or its ``DuoT5ReRanker``.

    Args:
        config: What kind of model it is.
        model: Its name or folder.
        tokenizer: Name or folder of its tokenizer.
        batch_size: Documents, or pairs of them, a batch; None is 4, as there.
        text_field: The column with the document's text.
        device: E.g. ``cpu``; None takes cuda where there is one.
        verbose: Show progress bars.
        stage: ``mono_t5`` or ``duo_t5``.

    Returns:
        The stock re-ranker. Its scores depend on what else is in the batch.

    Raises:
        MissingError: The package, the model or the device is not there, there is no stock re-ranker for that kind of model, or
            the model does not say how long its input may be.
        PipelineError: A device is named for an mT5 model.
    """
    who = f'{stage}(compat="pyterrier_t5")'
    require("pyterrier_t5", install="pyterrier-t5", why=who)
    import pyterrier_t5  # noqa: PLC0415 - heavy

    if (stage, config.model_type) not in _CLASSES:
        problem = f"its package has no such re-ranker for {config.model_type} models"
        raise MissingError(f"{who} cannot read {model!r}", [problem], fix=f"{stage}(model), without compat")
    multilingual = config.model_type == "mt5"
    if multilingual and device is not None:
        problem = f"mT5ReRanker chooses its device itself, found {device!r}"
        raise PipelineError(f"{who} cannot be made", [problem], fix="device=None")
    if not multilingual and not hasattr(config, "n_positions"):
        fix = 'add "n_positions": 512 to its config.json'
        raise MissingError(f"{who} cannot read {model!r}", ["its configuration has no n_positions"], fix=fix)
    where = find_device(device, who)
    options = {"batch_size": batch_size or _BATCH_SIZE, "text_field": text_field, "verbose": verbose}
    options |= {} if multilingual else {"device": where}
    with loading(model, who, verbose=verbose):
        return getattr(pyterrier_t5, _CLASSES[stage, config.model_type])(tokenizer, model, **options)
