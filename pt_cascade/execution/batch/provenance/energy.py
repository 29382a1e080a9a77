"""Measures the energy of this machine while shards run, by tirex-tracker in a process of its own.

The tracker takes over signals and raises its errors in the middle of other work, so it is kept out of the run. It writes no file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = {"cpu": "CPU_ENERGY_SYSTEM_JOULES", "ram": "RAM_ENERGY_SYSTEM_JOULES", "gpu": "GPU_ENERGY_SYSTEM_JOULES"}
_SECONDS = 10.0


@contextmanager
def measure_energy(joules: dict[str, float | None]) -> Iterator[None]:
    """Fill a dict with joules of ``cpu``, ``ram`` and ``gpu`` when the block ends, None where the machine does not tell."""
    tracker = subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run
    )
    with tracker:
        try:
            yield
        finally:
            try:
                said, _ = tracker.communicate(timeout=_SECONDS)  # it ends when its input does
                joules |= json.loads(said)
            except (subprocess.TimeoutExpired, ValueError):
                tracker.kill()


def _track() -> None:
    """Track until the input ends, then print."""
    from tirex_tracker import Measure, start_tracking, stop_tracking  # noqa: PLC0415 - an extra

    handle = start_tracking([Measure[name] for name in _NAMES.values()], poll_intervall_ms=1000)
    sys.stdin.read()
    results = stop_tracking(handle)
    json.dump({part: json.loads(results[Measure[name]].value) for part, name in _NAMES.items()}, sys.stdout)


if __name__ == "__main__":
    _track()
