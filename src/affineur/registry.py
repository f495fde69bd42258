"""Things of a kind, found by name: steps, pruning methods, engines, artifact formats, server protocols.

Ours are the modules of one package: a file ``layerwise.py`` there is the built-in ``layerwise``, and adding a
file is all it takes. Another distribution adds to the same registry by an entry point of the registry's
group::

    [project.entry-points."affineur.pruning_methods"]
    random = "my_package.pruning:METHOD"

Names are listed without importing anything; what stands behind one is imported when it is asked for.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Generic, TypeVar, cast

from affineur.errors import AffineurError, ParameterError, did_you_mean, one_line
from affineur.progress import report

T = TypeVar("T")


class Registry(Generic[T]):
    """What there is of one kind, by name.

    Args:
        group: Entry-point group that other distributions add to, such as ``affineur.steps``.
        package: The package whose modules are the built-in ones. Sub-packages are not, nor is what begins
            with ``_``.
        attribute: What each built-in module calls its one, such as ``METHOD``.
        what: What one is called in messages, such as ``pruning method``.
        check: Called with what a plugin gives; raises ``TypeError`` saying what is wrong with it.
    """

    def __init__(
        self,
        group: str,
        package: str,
        attribute: str,
        what: str,
        check: Callable[[object], None] | None = None,
    ) -> None:
        self.group, self.what = group, what
        self._package, self._attribute, self._check = package, attribute, check
        self._told: set[str] = set()

    @cached_property
    def _built_in(self) -> tuple[str, ...]:
        spec = find_spec(self._package)
        places = spec.submodule_search_locations if spec else None
        modules = pkgutil.iter_modules(list(places or ()))
        return tuple(sorted(_spelled(m.name) for m in modules if not m.ispkg and not m.name.startswith("_")))

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            if point not in found.setdefault(point.name, []):
                found[point.name].append(point)
        return found

    def names(self) -> tuple[str, ...]:
        """List every name, ours first; nothing is imported."""
        return (*self._built_in, *sorted(set(self._plugins).difference(self._built_in)))

    def __contains__(self, name: object) -> bool:
        """Say whether there is one of this name."""
        return name in self._built_in or name in self._plugins

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self.names())

    def get(self, name: str, parameter: str | None = None) -> T:
        """Import and return the one of a name.

        Args:
            name: The name.
            parameter: The parameter it was given as, for the message where there is none of that name.

        Raises:
            ParameterError: If there is none of this name, or two packages give one.
            AffineurError: If the package that gives it cannot be imported, or gives something else.
        """
        givers = self._plugins.get(name, [])
        if name in self._built_in:
            if givers:
                raise ParameterError(
                    f"{_whose(givers[0])} gives a {self.what} named '{name}', which Affineur has already; "
                    f"uninstall it, or have it use another name (entry point group {self.group})"
                )
            return self._ours(name)
        if not givers:
            known = self.names()
            raise ParameterError(
                f"no {self.what} '{name}', expected one of {', '.join(known)}{did_you_mean(name, known)}",
                parameter,
            )
        if len(givers) > 1:
            raise ParameterError(
                f"{' and '.join(_whose(point) for point in givers)} both give a {self.what} named '{name}'; "
                f"uninstall one of them (entry point group {self.group})"
            )
        return self._load(givers[0])

    def all(self) -> Mapping[str, T]:
        """Import and return all by name; a plugin that is broken is reported once and left out."""
        found: dict[str, T] = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except AffineurError as error:
                if name in self._built_in and name not in self._plugins:
                    raise
                if name not in self._told:
                    self._told.add(name)
                    report(f"warning: {error}")
                if name in self._built_in:  # ours stays, whatever wants to take its name
                    found[name] = self._ours(name)
        return found

    def _ours(self, name: str) -> T:
        module = import_module(f"{self._package}.{name.replace('-', '_')}")
        return cast(T, getattr(module, self._attribute))

    def _load(self, point: EntryPoint) -> T:
        try:
            given = point.load()
            if self._check is not None:
                self._check(given)
        except AffineurError:
            raise
        except Exception as error:  # anything may go wrong in somebody else's module
            raise AffineurError(
                f"the {self.what} '{point.name}' of {_whose(point)} cannot be used ({type(error).__name__}: "
                f"{one_line(error)}); mend or uninstall that package, the rest of Affineur works without it"
            ) from error
        return cast(T, given)


def _spelled(module: str) -> str:
    """Return what a module's name stands for: ``trim_vocab`` is ``trim-vocab``."""
    return module.replace("_", "-")


def _whose(point: EntryPoint) -> str:
    """Name the distribution that gives an entry point."""
    return f"the package {point.dist.name}" if point.dist else f"the module {point.module}"
