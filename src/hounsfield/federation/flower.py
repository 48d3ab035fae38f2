"""The one door to Flower: its nouns, with its calls home switched off, or one sentence that it is missing.

Every other module takes Flower's nouns from here. Only what carries messages is named; strategies and the
server's parts are imported where they run, after this module, through `need`.
"""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from hounsfield.core.errors import MissingDependency
from hounsfield.federation import SWITCHES

__all__ = [
    "SWITCHES",
    "Array",
    "ArrayRecord",
    "ConfigRecord",
    "Error",
    "Grid",
    "Message",
    "MessageType",
    "Metadata",
    "MetricRecord",
    "RecordDict",
    "need",
]

_MISSING = "hu federate needs the extra: pip install 'hounsfield[federated]'"


def need(module: str) -> ModuleType:
    """A module of the extra by its dotted name; MissingDependency where it is not installed.

    >>> need("flwr.serverapp.strategy").FedAvg.__name__
    'FedAvg'
    >>> need("flwr_of_another_planet")
    Traceback (most recent call last):
    hounsfield.core.errors.MissingDependency: hu federate needs the extra: pip install 'hounsfield[federated]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(_MISSING) from error


try:
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Error,
        Message,
        MessageType,
        Metadata,
        MetricRecord,
        RecordDict,
    )
    from flwr.serverapp import Grid
except ModuleNotFoundError as error:
    raise MissingDependency(_MISSING) from error

logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what matters is raised, and said by us in one sentence
