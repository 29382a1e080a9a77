"""What became of a call that failed, and whether trying again may help.

- Tried again: 429, 408, 409, 5xx, time-outs, lost connections, and a 200 that holds no answer.
- Not tried again: any other 4xx, or what the server itself says not to.
- Fatal for all calls: 401, 402, 403, a spent quota, a redirect.

A 200 whose body is an error with such a code counts as that code.
"""

from __future__ import annotations

import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_cascade.stages.llm_messages import Failure

FILTERED = "content_filter"
SPENT = "insufficient_quota"
TOO_MANY = 429
_TRY_AGAIN = frozenset({408, 409, TOO_MANY})
_FATAL = frozenset({401, 402, 403})
_REDIRECTS = range(300, 400)
_REFUSED = frozenset({400, 422})
_SERVER_ERROR = 500
_SPARE = ("logprobs", "seed", "max_tokens")
_UNKNOWN = re.compile(r"un(?:supported|expected|known|recognized)|(?:not|n't) (?:support|permit|allow|available)", re.IGNORECASE)


class CallError(Exception):
    """A call that failed.

    Args:
        words: What the server, or the network, said.
        again: Whether trying again may help.
        pause: Seconds to wait before, where the server said so.
        names: Fields that the server refuses.
        nobody: Whether nothing listens there.
        fatal: Whether every other call would fail likewise.
        tokens_in: Tokens of the prompt that were charged, as far as the server counts; None: nobody knows.
        tokens_out: Tokens of an answer, likewise.
    """

    def __init__(
        self,
        words: str,
        *,
        again: bool = True,
        pause: float | None = None,
        names: frozenset[str] = frozenset(),
        nobody: bool = False,
        fatal: bool = False,
        tokens_in: int | None = 0,
        tokens_out: int | None = 0,
    ) -> None:
        """Keep the parts; it was not tried again, nor left alone, yet."""
        super().__init__(words)
        self.words, self.again, self.pause, self.names, self.nobody, self.fatal = words, again, pause, names, nobody, fatal
        self.tokens_in, self.tokens_out = tokens_in, tokens_out
        self.retries = 0
        self.left = False


def read_status(code: int, headers: Mapping[str, str], failure: Failure, sent: Mapping[str, object]) -> CallError:
    """Read an error that has a status.

    Args:
        code: The status.
        headers: Of the response, by name in lower case.
        failure: Its body.
        sent: The fields that were sent.

    Returns:
        The failed call.
    """
    if code in _REDIRECTS:
        return CallError(_read_redirect(code, headers), again=False, fatal=True)
    spent = SPENT in failure.kinds
    again = (code in _TRY_AGAIN or code >= _SERVER_ERROR) and not spent and headers.get("x-should-retry") != "false"
    said = failure.message or "no words with it"
    names = [name for name in _SPARE if code in _REFUSED and name in sent and name in said and _UNKNOWN.search(said)]
    return CallError(
        f"{code}: {said}",
        again=again,
        pause=read_pause(headers),
        names=frozenset(names),
        fatal=spent or code in _FATAL,
        tokens_in=failure.tokens_in or 0,
        tokens_out=failure.tokens_out or 0,
    )


def _read_redirect(code: int, headers: Mapping[str, str]) -> str:
    """Say where to: scheme, host and path, and no more, for the rest may be a secret."""
    try:
        to = urlsplit(headers.get("location", ""))
    except ValueError:
        to = urlsplit("")
    host = to.netloc.rpartition("@")[2]
    if not host and not to.path:
        return f"{code}: the server redirects, and does not say where to; look at base_url"
    start = f"{to.scheme or 'http'}://{host}" if host else "its own "
    return f"{code}: the server redirects to {start}{to.path.removesuffix('/chat/completions')}; put that into base_url"


def read_pause(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a server wants: ``retry-after-ms``, else ``Retry-After`` as seconds or as a date.

    Args:
        headers: By name in lower case.

    Returns:
        Seconds, 0 or more, perhaps infinite; None where it does not say, or nobody can read it.

    Example:
        >>> read_pause({"retry-after-ms": "soon", "retry-after": "7"}), read_pause({"retry-after": "nan"})
        (7.0, None)
    """
    milliseconds = _read_number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "")
    seconds = _read_number(said)
    if seconds is not None:
        return seconds
    try:
        return max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _read_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else max(number, 0.0)
