"""Hounsfield: from a folder of medical images to a model with evidence.

>>> import hounsfield as hu
>>> sorted(hu.__all__)[:3]
['HounsfieldError', 'Plan', 'Question']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hounsfield.core.errors import HounsfieldError as HounsfieldError
    from hounsfield.core.plan import Plan as Plan
    from hounsfield.face import Run as Run
    from hounsfield.face import evaluate as evaluate
    from hounsfield.face import federate as federate
    from hounsfield.face import load_model as load_model
    from hounsfield.face import predict as predict
    from hounsfield.face import scan as scan
    from hounsfield.face import train as train
    from hounsfield.steps.gather import Question as Question

_WHERE = {
    "HounsfieldError": "hounsfield.core.errors",
    "Plan": "hounsfield.core.plan",
    "Question": "hounsfield.steps.gather",
    "Run": "hounsfield.face",
    "evaluate": "hounsfield.face",
    "federate": "hounsfield.face",
    "load_model": "hounsfield.face",
    "predict": "hounsfield.face",
    "scan": "hounsfield.face",
    "train": "hounsfield.face",
}

__all__ = [
    "HounsfieldError",
    "Plan",
    "Question",
    "Run",
    "evaluate",
    "federate",
    "load_model",
    "predict",
    "scan",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: importing the package loads nothing heavy."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hounsfield' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
