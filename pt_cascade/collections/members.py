"""The public functions, classes and methods of an installed package, each once, with all its names.

Public are the names in a module's ``__all__``, submodules included; without ``__all__``, the names and submodules without
underscore. The result does not depend on what has been imported. Tests, deprecated names and what other packages add are left out.
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

_NO_API = frozenset({"tests", "test", "conftest", "numpy.core"})  # numpy.core is only for old pickles
_ENDING = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


@dataclass(frozen=True)
class Member:
    """One function, class or method.

    Attributes:
        names: Every public name, the canonical one first: own before inherited, then fewest dots, then closest to the object's own
            name, then shortest, then alphabetical.
        docstring: As in the source; never blank.
    """

    names: tuple[str, ...]
    docstring: str

    @property
    def name(self) -> str:
        """The canonical name, such as ``numpy.ndarray.cumsum``."""
        return self.names[0]


@dataclass
class _Found:
    """An object, which keeps its id unique, and its names with sort keys."""

    thing: object
    names: dict[str, tuple[bool, int, bool, bool, int]] = field(default_factory=dict)


def public_members(package: str) -> list[Member]:
    """List a package's functions, classes and methods that have their own docstring, by canonical name."""
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
    """Return the public modules by path; a module may have several paths."""
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
    except Exception:  # noqa: BLE001 - a submodule may need an extra or another platform
        return None


def _offered(module: ModuleType, package: str, caught: list[warnings.WarningMessage]) -> Iterator[tuple[str, object]]:
    """Yield a module's functions and classes; those without a module of their own only from ``__all__``."""
    declared = hasattr(module, "__all__")
    for name in sorted(set(module.__all__ if declared else dir(module))):
        if name.startswith("_"):
            continue
        thing = _get(module, name, caught)
        home = getattr(thing, "__module__", None)
        if _docstring(thing) and (_is_own(home, package) if isinstance(home, str) else declared):
            yield name, thing


def _get(module: ModuleType, name: str, caught: list[warnings.WarningMessage]) -> object:
    """Return an attribute, None if it is missing or deprecated; a module may warn, as it does so only once."""
    before = len(caught)
    try:
        thing: object = getattr(module, name, None)
    except Exception:  # noqa: BLE001 - a lazy attribute may need a missing package
        return None
    warned = any(issubclass(warning.category, _ENDING) for warning in caught[before:])
    return None if warned and not isinstance(thing, ModuleType) else thing


def _methods(cls: type, package: str) -> Iterator[tuple[str, object, bool]]:
    """Yield (name, function, inherited) for each public method that this package defines."""
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
    """Return the function of a bound, static or class method."""
    return getattr(thing, "__func__", thing)


def _docstring(thing: object) -> str:
    """Return the docstring of a callable, unless it is inherited from its type."""
    text = getattr(thing, "__doc__", None)
    if not callable(thing) or not isinstance(text, str) or text == type(thing).__doc__:
        return ""
    return text if text.strip() else ""


def _is_own(home: str, package: str) -> bool:
    """Whether a module belongs to the package, as ``_pytest`` to ``pytest``."""
    return home.partition(".")[0].lstrip("_") == package.partition(".")[0].lstrip("_")
