"""Loads a model and its tokenizer from a folder or the model hub, without output; an error names what is missing."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from pt_cascade.errors import MissingError, first_line
from pt_cascade.files import to_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from sentence_transformers import CrossEncoder
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.stages.inference.options import Dtype

_SHOWN = 4
_FIX = "pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"
_FILES = ("config.json", "modules.json", "config_sentence_transformers.json", "tokenizer_config.json")
_SECONDS = 10


class ModelSpec(NamedTuple):
    """A model to load."""

    name: str  # a folder, or a name on the model hub
    device: str | None = None  # cuda where there is one
    verbose: bool = False
    dtype: Dtype = "fp32"


def find_model(model: str | os.PathLike[str], fix: str = "") -> str:
    """Return the folder or the name of a model as text; refuse a folder that holds none.

    A path object, text that starts like a path, and text with more than one slash can only be a folder.

    Example:
        >>> find_model("castorini/monot5-base-msmarco")
        'castorini/monot5-base-msmarco'
    """
    folder = to_path(model)
    name = os.fspath(model)
    if not name or not folder.is_dir():
        if isinstance(model, str) and name and name[0] not in "/.~" and name.count("/") < 2:  # noqa: PLR2004 - owner/name
            return name
        _refuse(name, "there is no such folder", fix=fix)
    if not (folder / "config.json").is_file():
        found = _shorten(sorted(file.name for file in folder.iterdir()))
        _refuse(name, f"the folder holds {found or 'nothing'}; expected config.json, the weights and the tokenizer")
    return str(folder)


def find_cached(name: str) -> str:
    """Find a file of a name on the hub in the local cache; a bare name may be one of sentence-transformers. Empty: not there."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy

    names = (name,) if "/" in name else (name, f"sentence-transformers/{name}")
    found = (try_to_load_from_cache(one, file) for one in names for file in _FILES)
    return next((path for path in found if isinstance(path, str)), "")


def is_local(name: str) -> bool:
    """Tell whether a model is a folder, or in the local cache of the hub.

    Example:
        >>> is_local("/"), is_local("org/name-that-nobody-loads")
        (True, False)
    """
    return to_path(name).is_dir() or bool(find_cached(name))


def check_reachable(name: str, fix: str = "") -> bool:
    """Tell whether a model is local; if not, query the hub for it once, without the long retries of a download."""
    if is_local(find_model(name, fix)):
        return True
    from huggingface_hub import HfApi  # noqa: PLC0415 - heavy
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 - heavy

    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except HfHubHTTPError:  # the hub answers; why it does not have the model, the download says better
        pass
    except Exception as error:
        problem = f"it is not a folder, not in the local hub cache, and the model hub cannot be reached: {first_line(error)}"
        fix = f"hf download {shlex.quote(name)}, on a machine with a network, or pass the folder of a model"
        raise MissingError(f"cannot load {name!r}", [problem], fix=fix) from error
    return False


def find_device(device: str | None) -> torch.device:
    """Return the device to run on: the one that is named, else cuda where there is one, else cpu; a tensor was made on it.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    import torch  # noqa: PLC0415 - heavy

    name = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
    try:
        return torch.empty(0, device=name).device
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
        TypeError,
        ValueError,
    ) as error:  # torch's own for a name, a build, a backend
        fix = "device=None uses cuda if it is available, else cpu"
        raise MissingError(f"cannot use the device {name!r}", [first_line(error)], fix=fix) from error


def load_config(name: str, *, verbose: bool = False) -> PretrainedConfig:
    """Read the configuration of a model, from its folder, the local cache or the hub."""
    from transformers import AutoConfig  # noqa: PLC0415 - heavy

    check_reachable(name)
    with loading(name, verbose=verbose):
        return AutoConfig.from_pretrained(name)


def load_model(spec: ModelSpec, kind: type[PreTrainedModel], unchanged: tuple[str, ...] = ()) -> PreTrainedModel:
    """Load a model, on its device and ready to score; a part that the checkpoint lacks would be random, and is refused.

    ``kind`` is the class that loads it, e.g. ``AutoModelForSeq2SeqLM``; ``unchanged`` as in ``dtypes.replace_layers``.
    """
    where = find_device(spec.device)
    from pt_cascade.stages.inference.dtypes import replace_layers, torch_dtype  # noqa: PLC0415 - heavy

    weights_dtype = torch_dtype(spec.dtype, where)
    with loading(spec.name, verbose=spec.verbose):
        model, report = kind.from_pretrained(spec.name, dtype=weights_dtype, output_loading_info=True)
    _refuse_random(sorted(report["missing_keys"]), spec.name)
    model = model.to(where).eval()
    replace_layers(model, {model.get_output_embeddings()}, unchanged)
    return model


def load_reader(spec: ModelSpec) -> CrossEncoder:
    """Load a cross-encoder as sentence-transformers does, with all that it was saved with."""
    where = find_device(spec.device)
    load_config(spec.name, verbose=spec.verbose)
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.dtypes import torch_dtype  # noqa: PLC0415 - heavy

    weights_dtype = torch_dtype(spec.dtype, where)
    pair, plain = [["query", "document"]], {"text": {"padding": False}}
    with loading(spec.name, verbose=spec.verbose):
        reader = CrossEncoder(spec.name, device="cpu", model_kwargs={"dtype": weights_dtype}).eval()
        reader.preprocess(pair, processing_kwargs=plain)  # some chat templates have no place for a pair
    weights = reader.transformers_model.named_parameters()  # marked where a file held them, until they are moved
    _refuse_random(sorted(key for key, weight in weights if not getattr(weight, "_is_hf_initialized", False)), spec.name)
    _check_words(reader.tokenizer, reader.config, spec.name)
    return reader.to(where)


def load_tokenizer(name: str, config: PretrainedConfig, *, verbose: bool = False, fix: str = "") -> PreTrainedTokenizerBase:
    """Load a tokenizer that fits the model of ``config``; ``fix`` is the cure where it is missing."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy

    if not to_path(name).is_dir():  # a folder may hold a tokenizer only
        check_reachable(name, fix)
    with loading(name, verbose=verbose, fix=fix):
        tokenizer = AutoTokenizer.from_pretrained(name)
    _check_words(tokenizer, config, name, fix=fix)
    return tokenizer


@contextmanager
def loading(name: str, *, verbose: bool = False, fix: str = "") -> Iterator[None]:
    """Load without output, bars in a terminal where ``verbose``; any error becomes a MissingError that names the model."""
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hidden = bars and not (verbose and getattr(sys.stderr, "isatty", bool)())
    logging.set_verbosity_error()
    if hidden:
        logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a damaged folder raises whatever its first reader meets
        where = "" if Path(name).is_dir() else "there is no such folder, and the model hub answered: "
        _refuse(name, where + first_line(error), error, fix=fix)
    finally:
        logging.set_verbosity(level)
        if hidden:
            logging.enable_progress_bar()


def _refuse_random(lacking: list[str], name: str) -> None:
    if lacking:
        _refuse(name, f"it has no weights for {_shorten(lacking)}, so it was not trained for this stage")


def _check_words(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str, *, fix: str = "") -> None:
    """Refuse a tokenizer of special tokens only, which transformers makes where its files are missing."""
    words = config.get_text_config().vocab_size
    if len(tokenizer) * 2 < words:
        _refuse(name, f"its tokenizer knows {len(tokenizer)} of the {words} words of the model", fix=fix)


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _refuse(name: str, problem: str, cause: Exception | None = None, *, fix: str = "") -> NoReturn:
    raise MissingError(f"cannot load {name!r}", [problem], fix=fix or _FIX) from cause
