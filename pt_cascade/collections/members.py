"""The public functions, classes and methods of an installed package, each once, with every name it goes by.

**Public** is what a package declares: the names in a module's ``__all__``, submodules among them; a module without ``__all__``
has its names without underscore, and a package without one its submodules without underscore. So the answer does not depend on
which submodules happen to be imported. Tests are left out, names that warn of their own end, and what other packages put in.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_API = frozenset({"tests", "test", "conftest", "numpy.core"})  # numpy.core is there for old pickles only, says its docstring
_ENDING = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


@dataclass(frozen=True)
class Member:
    """One function, class or method.

    Attributes:
        names: Every public name, the canonical one first: own before inherited, then the fewest dots, then the one nearest to
            what the object calls itself, then the shortest, then the first in the alphabet.
        docstring: As it stands in the source; never blank.
    """

    names: tuple[str, ...]
    docstring: str

    @property
    def name(self) -> str:
        """The canonical name, such as ``numpy.ndarray.cumsum``."""
        return self.names[0]


@dataclass
class _Found:
    """An object, kept alive so that its id stays its own, and its names with their order."""

    thing: object
    names: dict[str, tuple[bool, int, bool, bool, int]] = field(default_factory=dict)


def public_members(package: str) -> list[Member]:
    """List what a package offers: functions, classes and methods that have a docstring of their own."""
    found: dict[int, _Found] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path, module in _modules(package, caught).items():
            for name, thing in _offered(module, package, caught):
                _note(found, thing, f"{path}.{name}")
                if isinstance(thing, type):
                    for method, function, inherited in _methods(thing, package):
                        _note(found, function, f"{path}.{name}.{method}", inherited=inherited)
    members = (Member(tuple(sorted(one.names, key=lambda n: (one.names[n], n))), _docstring(one.thing)) for one in found.values())
    return sorted(members, key=lambda member: member.name)


def _modules(package: str, caught: list[warnings.WarningMessage]) -> dict[str, ModuleType]:
    """Give the public modules by the path that leads to them; one module may have several."""
    try:
        ahead = [(package, importlib.import_module(package))]
    except ImportError as error:
        what = f"cannot import the package {package!r}"
        raise MissingError(what, [str(error)], fix=f"pip install {package.partition('.')[0]}") from error
    found: dict[str, ModuleType] = {}
    entered: set[ModuleType] = set()
    while ahead:
        path, module = ahead.pop(0)
        found[path] = module
        if module not in entered:
            entered.add(module)
            ahead += [(f"{path}.{name}", child) for name, child in _submodules(module, package, caught)]
    return found


def _submodules(module: ModuleType, package: str, caught: list[warnings.WarningMessage]) -> Iterator[tuple[str, ModuleType]]:
    declared = hasattr(module, "__all__")
    names = module.__all__ if declared else [child.name for child in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    for name in sorted(set(names)):
        path = f"{module.__name__}.{name}"
        if name.startswith("_") or name in _NO_API or path in _NO_API:
            continue
        child = _get(module, name, caught) if declared else _imported(path)
        if isinstance(child, ModuleType) and _is_own(child.__name__, package):
            yield name, child


def _imported(path: str) -> ModuleType | None:
    try:
        return importlib.import_module(path)
    except Exception:  # noqa: BLE001 - a submodule that needs what is not here (an extra, another platform) offers nothing here
        return None


def _offered(module: ModuleType, package: str, caught: list[warnings.WarningMessage]) -> Iterator[tuple[str, object]]:
    """Give the functions and classes of a module; one from another package only if ``__all__`` does not say whose it is."""
    declared = hasattr(module, "__all__")
    for name in sorted(set(module.__all__ if declared else dir(module))):
        if name.startswith("_"):
            continue
        thing = _get(module, name, caught)
        home = getattr(thing, "__module__", None)
        if _docstring(thing) and (_is_own(home, package) if isinstance(home, str) else declared):
            yield name, thing


def _get(module: ModuleType, name: str, caught: list[warnings.WarningMessage]) -> object:
    """Give an attribute; None where it is not there or warns of its end. A module may warn: it does so once only."""
    before = len(caught)
    try:
        thing: object = getattr(module, name, None)
    except Exception:  # noqa: BLE001 - a lazy attribute may need what is not installed
        return None
    warned = any(issubclass(warning.category, _ENDING) for warning in caught[before:])
    return None if warned and not isinstance(thing, ModuleType) else thing


def _methods(cls: type, package: str) -> Iterator[tuple[str, object, bool]]:
    """Give name, function and whether it is inherited, for each public method that comes from this package."""
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if name.startswith("_") or owner is None or not _is_own(owner.__module__, package):
            continue
        function = _bare(vars(owner)[name])
        home = getattr(function, "__module__", None)
        foreign = isinstance(home, str) and not _is_own(home, package)
        if not foreign and not isinstance(function, type) and _docstring(function):
            yield name, function, owner is not cls


def _note(found: dict[int, _Found], thing: object, name: str, *, inherited: bool = False) -> None:
    bare = _bare(thing)
    home = getattr(bare, "__module__", None) or getattr(getattr(bare, "__objclass__", None), "__module__", None)
    inner = getattr(bare, "__qualname__", None) or getattr(bare, "__name__", "")
    one = found.setdefault(id(bare), _Found(bare))
    one.names.setdefault(name, (inherited, name.count("."), name != f"{home}.{inner}", not name.endswith(f".{inner}"), len(name)))


def _bare(thing: object) -> object:
    """Give the function behind a bound, static or class method."""
    return getattr(thing, "__func__", thing)


def _docstring(thing: object) -> str:
    """Give the docstring of what can be called, if it is its own and not that of its class."""
    text = getattr(thing, "__doc__", None)
    if not callable(thing) or not isinstance(text, str) or text == type(thing).__doc__:
        return ""
    return text if text.strip() else ""


def _is_own(home: str, package: str) -> bool:
    """Tell whether a module belongs to the package; ``_pytest`` belongs to ``pytest``."""
    return home.partition(".")[0].lstrip("_") == package.partition(".")[0].lstrip("_")
