"""The order of keys, kept beside canonical JSON, which sorts them: columns are read in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["in_order", "order_of"]


def order_of(value: Any, path: str = "") -> dict[str, list[str]]:
    """The keys, in their order, of every mapping within a plain value that are not sorted anyway.

    A path joins keys by "/"; "*" stands for every place of a list.

    >>> order_of({"t": [{"site": 1, "n": 2}, {"n": 3, "p": 4}]})
    {'t/*': ['site', 'n', 'p']}
    """
    return {where: keys for where, keys in _keys_of(value, path).items() if keys != sorted(keys)}


def _keys_of(value: Any, path: str) -> dict[str, list[str]]:
    """The keys of every mapping; of the mappings in a list together, in the order of their first places."""
    found: dict[str, list[str]] = {}
    inner: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        found[path] = list(value)
        inner = [(_joined(path, key), child) for key, child in value.items()]
    elif isinstance(value, list):
        inner = [(_joined(path, "*"), child) for child in value if isinstance(child, list | Mapping)]
    for place, child in inner:
        for where, keys in _keys_of(child, place).items():
            held = found.setdefault(where, [])
            held += [key for key in keys if key not in held]
    return found


def in_order(value: Any, order: Mapping[str, Any], path: str = "") -> Any:
    """The value with its keys in the kept order; those that the order does not name come last, sorted.

    >>> in_order({"t": [{"n": 2, "site": 1}]}, {"t/*": ["site", "n"]})
    {'t': [{'site': 1, 'n': 2}]}
    """
    if isinstance(value, list):
        return [in_order(child, order, _joined(path, "*")) for child in value]
    if not isinstance(value, Mapping):
        return value
    wanted = order.get(path)
    first = [key for key in wanted if key in value] if isinstance(wanted, list) else []
    keys = dict.fromkeys([*first, *sorted(value)])
    return {key: in_order(value[key], order, _joined(path, key)) for key in keys}


def _joined(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key
