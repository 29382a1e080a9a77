"""Loading a model and its tokenizer, from a folder or the model hub, quietly, or saying what is missing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pt_cascade.errors import MissingError, require
from pt_cascade.stages.inference.dtypes import quicken, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from sentence_transformers import CrossEncoder
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.stages.inference.dtypes import Dtype

_SHOWN = 4
_FIX = "pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"


def find_model(model: str | os.PathLike[str], stage: str) -> str:
    """Return the name of a model, and refuse a folder that holds none.

    Args:
        model: A folder, or a name on the model hub. What is a path object, starts like a path, or has more than one
            slash can only be a folder.
        stage: Who would load it, for the error.

    Returns:
        The folder or the name, as text.

    Raises:
        MissingError: The folder is not there, or has no ``config.json``.

    Example:
        >>> find_model("castorini/monot5-base-msmarco", "mono_t5")
        'castorini/monot5-base-msmarco'
    """
    name = os.fspath(model)
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        if isinstance(model, str) and name and name[0] not in "/.~" and name.count("/") < 2:  # noqa: PLR2004 - owner/name
            return name
        _refuse(name, stage, "there is no such folder")
    if not (folder / "config.json").is_file():
        found = sorted(file.name for file in folder.iterdir())
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        _refuse(name, stage, f"the folder holds {shown or 'nothing'}; expected config.json, the weights and the tokenizer")
    return str(folder)


def find_device(device: str | None, stage: str) -> torch.device:
    """Return the device to run on: the one that is named, else cuda where there is one, else cpu.

    Args:
        device: E.g. ``cpu``, ``cuda``, ``cuda:1``.
        stage: Who would run there, for the error.

    Returns:
        The device; a tensor has been made on it.

    Raises:
        MissingError: torch cannot use it.

    Example:
        >>> find_device("cpu", "mono_t5")
        device(type='cpu')
    """
    require("torch", why=stage)
    import torch  # noqa: PLC0415 - heavy

    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's own for a name, a build, a backend
        fix = "device=None takes cuda where there is one, else cpu"
        raise MissingError(f"{stage} cannot use the device {name!r}", [first_line(error)], fix=fix) from error


def load_config(name: str, stage: str, *, verbose: bool = False) -> PretrainedConfig:
    """Read what kind of model it is.

    Args:
        name: A folder, or a name on the model hub.
        stage: Who asks, for the error.
        verbose: Show progress bars.

    Returns:
        Its configuration.

    Raises:
        MissingError: It is neither a folder with a model, nor can the hub be asked for it.
    """
    require("transformers", why=stage)
    from transformers import AutoConfig  # noqa: PLC0415 - heavy

    with loading(find_model(name, stage), stage, verbose=verbose):
        return AutoConfig.from_pretrained(name)


def load_model(
    name: str,
    kind: type[PreTrainedModel],
    stage: str,
    *,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
    plain: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Load a model, all of it: a part that the checkpoint lacks would be random.

    Args:
        name: A folder, or a name on the model hub.
        kind: The class that loads it, e.g. ``AutoModelForSequenceClassification``.
        stage: Who asks, for the error.
        device: As in ``find_device``.
        verbose: Show progress bars.
        dtype: As in ``dtypes.check_dtype``.
        plain: How the names of layers end that are left as they are, as in ``dtypes.quicken``.

    Returns:
        The model, on its device, ready to score, its linear layers the fastest there are on this processor.

    Raises:
        MissingError: The model, a part of it, or the device is not there.
        PipelineError: The device is slower with that dtype.
    """
    where = find_device(device, stage)
    weights_dtype = torch_dtype(dtype, where, stage)
    with loading(name, stage, verbose=verbose):
        model, report = kind.from_pretrained(name, dtype=weights_dtype, output_loading_info=True)
    _refuse_random(sorted(report["missing_keys"]), name, stage)
    model = model.to(where).eval()
    quicken(model, _find_heads(model), plain)
    return model


def load_reader(name: str, stage: str, *, device: str | None = None, verbose: bool = False, dtype: Dtype = "fp32") -> CrossEncoder:
    """Load a cross-encoder as sentence-transformers does, with all that it was saved with; errors as of ``load_model``."""
    where = find_device(device, stage)
    weights_dtype = torch_dtype(dtype, where, stage)
    load_config(name, stage, verbose=verbose)  # a hub that cannot be reached is told in half the time
    require("sentence_transformers", install="sentence-transformers", why=stage)
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - heavy

    pair, plain = [["query", "document"]], {"text": {"padding": False}}
    with loading(name, stage, verbose=verbose):
        reader = CrossEncoder(name, device="cpu", model_kwargs={"dtype": weights_dtype}).eval()
        reader.preprocess(pair, processing_kwargs=plain)  # some chat templates have no place for a pair
    weights = reader.transformers_model.named_parameters()  # marked where a file held them, until they are moved
    _refuse_random(sorted(key for key, weight in weights if not getattr(weight, "_is_hf_initialized", False)), name, stage)
    _check_words(reader.tokenizer, reader.config, name, stage)
    return reader.to(where)


def _find_heads(model: PreTrainedModel) -> set[torch.nn.Module]:
    """Find the layers that give scores: those with an output a label, or a word of the vocabulary."""
    labels = model.config.num_labels
    return {layer for layer in model.modules() if getattr(layer, "out_features", 0) == labels} | {model.get_output_embeddings()}


def load_tokenizer(
    name: str, config: PretrainedConfig, stage: str, *, verbose: bool = False, fix: str = ""
) -> PreTrainedTokenizerBase:
    """Load a tokenizer that fits the model.

    Args:
        name: A folder, or a name on the model hub.
        config: The configuration of the model that will read its ids.
        stage: Who asks, for the error.
        verbose: Show progress bars.
        fix: What to do where it is missing.

    Returns:
        The tokenizer.

    Raises:
        MissingError: It is not there. (Where the files are missing transformers makes one of special tokens only, for
            which every word is unknown; that is refused too.)
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy

    with loading(name, stage, verbose=verbose, fix=fix):
        tokenizer = AutoTokenizer.from_pretrained(name)
    _check_words(tokenizer, config, name, stage, fix=fix)
    return tokenizer


@contextmanager
def loading(name: str, stage: str, *, verbose: bool = False, fix: str = "") -> Iterator[None]:
    """Load quietly, and say what could not be loaded; afterwards transformers logs as before.

    Args:
        name: What is loaded, for the error.
        stage: Who loads it, for the error.
        verbose: Leave the progress bars on.
        fix: What to do where it is missing; another name or folder unless told.

    Raises:
        MissingError: The block found no model, or none that can be read.
    """
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars and not verbose:
        logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a damaged folder raises whatever its first reader stumbles over
        where = "" if Path(name).is_dir() else "there is no such folder, and the model hub gave: "
        _refuse(name, stage, where + first_line(error), error, fix=fix)
    finally:
        logging.set_verbosity(level)
        if bars and not verbose:
            logging.enable_progress_bar()


def _refuse_random(lacking: list[str], name: str, stage: str) -> None:
    if lacking:
        shown = ", ".join(lacking[:_SHOWN]) + (", ..." if len(lacking) > _SHOWN else "")
        _refuse(name, stage, f"it has no weights for {shown}, so it was not trained for this")


def _check_words(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str, stage: str, *, fix: str = "") -> None:
    words = config.get_text_config().vocab_size
    if len(tokenizer) * 2 < words:
        _refuse(name, stage, f"its tokenizer knows {len(tokenizer)} of the {words} words of the model", fix=fix)


def _refuse(name: str, stage: str, problem: str, cause: Exception | None = None, *, fix: str = "") -> NoReturn:
    raise MissingError(f"{stage} cannot load {name!r}", [problem], fix=fix or _FIX) from cause


def first_line(error: Exception) -> str:
    """Give the first line of what an error says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
