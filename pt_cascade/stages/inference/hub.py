"""Names on the model hub: whether they can be loaded at all, known at once instead of after minutes of retries."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from pt_cascade.errors import MissingError

_FILES = ("config.json", "modules.json", "config_sentence_transformers.json")
_SECONDS = 10


def is_local(name: str) -> bool:
    """Tell whether a model is a folder, or its files are in the hub's local cache.

    Args:
        name: A folder, or a name on the hub.

    Example:
        >>> is_local("/"), is_local("org/name-that-nobody-loads")
        (True, False)
    """
    if Path(name).expanduser().is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - heavy

    names = (name,) if "/" in name else (name, f"sentence-transformers/{name}")
    return any(isinstance(try_to_load_from_cache(one, file), str) for one in names for file in _FILES)


def check_reachable(name: str, stage: str) -> None:
    """Ask the hub once, without retries, and refuse to go on where it cannot be reached.

    Args:
        name: A name on the hub.
        stage: Who would load it, for the error.

    Raises:
        MissingError: The hub cannot be reached.
    """
    from huggingface_hub import constants  # noqa: PLC0415 - heavy

    try:
        with urlopen(constants.ENDPOINT, timeout=_SECONDS):  # noqa: S310 - the hub's address, or $HF_ENDPOINT
            return
    except HTTPError:  # somebody is there
        return
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # somebody is there; the hub's own client may know the certificate
            return
        problem = f"it is no folder, the local hub cache does not hold it, and the model hub cannot be reached: {reason}"
        fix = f"huggingface_hub.snapshot_download({name!r}) where there is a network, or pass a model's folder"
        raise MissingError(f"{stage} cannot load {name!r}", [problem], fix=fix) from error
