"""What this machine is: processors, memory, graphics cards, system; and the state of the source code in a folder."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_GB = 1e9


def describe_machine() -> dict[str, object]:
    """Describe the hardware and the system as ``platform`` of ir_metadata; graphics cards if torch is loaded."""
    processor = {
        "model": find_processor(),
        "architecture": platform.machine(),
        "operation mode": platform.architecture()[0].replace("bit", "-bit"),
        "number of cores": os.cpu_count(),
    }
    cards = [{"model": name, "memory": f"{memory / _GB:.0f} GB"} for name, memory in find_cards()]
    hardware = {"cpu": processor, **({"gpu": cards[0] | {"number": len(cards)}} if cards else {}), "ram": find_memory()}
    kernel, distribution = find_system()
    return {"hardware": hardware, "operating system": {"kernel": kernel, "distribution": distribution}}


def find_memory() -> str:
    """Return the size of the memory."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / _GB:.0f} GB"


def find_system() -> tuple[str, str]:
    """Return the kernel, and the distribution."""
    distribution = platform.platform()
    with suppress(OSError, KeyError):
        distribution = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{platform.system()} {platform.release()}", distribution


def find_cards() -> list[tuple[str, int]]:
    """Return the name and the bytes of memory of each graphics card that torch sees; none if torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [(card.name, card.total_memory) for card in found]


def describe_source(folder: Path) -> dict[str, object]:
    """Describe the git repository of a folder as ``source`` of ir_metadata; ``dirty``: its files differ from the commit."""
    source: dict[str, object] = {"lang": ["python"]}
    if commit := _git(folder, "rev-parse", "HEAD"):
        source["repository"] = _git(folder, "config", "--get", "remote.origin.url") or None
        source["commit"] = commit
        source["dirty"] = bool(_git(folder, "status", "--porcelain", "-uno"))
    return source


def _git(folder: Path, *words: str) -> str:
    """Return what git prints; empty without git or a repository."""
    with suppress(OSError):
        command = ["git", "-C", str(folder), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - words of this module
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


def find_processor() -> str:
    """Return the model of the processor."""
    with suppress(OSError):
        if found := re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()
