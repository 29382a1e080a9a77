"""Where the windows of a listwise judge lie: from the bottom of the list up, each over a part of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def slide(n: int, window: int, step: int) -> Iterator[slice]:
    """Give the windows over a list, lowest first; the last one begins at its top.

    Whatever is among the best of the whole list rises with the windows: a judge that orders each of them rightly brings the best
    ``window - step`` documents to the top, in order.

    Args:
        n: How long the list is; with fewer than 2 documents there is nothing to order.
        window: Documents in a window, 2 or more; the topmost may hold fewer.
        step: How far each begins above the one before, 1 ... window - 1.

    Yields:
        Slices of the list as it then stands.

    References:
        Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP 2023, section 3.2.

    Example:
        >>> [(part.start, part.stop) for part in slide(45, window=20, step=10)]
        [(25, 45), (15, 35), (5, 25), (0, 15)]
    """
    end = n
    while end > 1:
        start = max(end - window, 0)
        yield slice(start, end)
        if start == 0:
            return
        end -= step
