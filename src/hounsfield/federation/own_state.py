"""What is a site's own from round to round, as one file a round: a repeated round begins as it did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hounsfield.io.files import whole_file

__all__ = ["OwnState"]

_KEPT = 3
"""Files of so many rounds stay: the coordinator repeats the last one at most."""


class OwnState:
    """Arrays by name after each round, in a folder of the plan's hash.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     own = OwnState(Path(folder), "ab12")
    ...     own.keep(1, {"control": np.ones(2, np.float32)})
    ...     own.before(1), own.before(2)["control"].tolist()
    ({}, [1.0, 1.0])
    """

    def __init__(self, folder: Path, plan_hash: str) -> None:
        self.folder = folder / plan_hash[:16]

    def before(self, number: int) -> dict[str, NDArray[Any]]:
        """What was kept after the last round before `number`; nothing where none was."""
        from safetensors.numpy import load_file

        found = [n for n in self._rounds() if n < number]
        return dict(load_file(str(self._file(max(found))))) if found else {}

    def keep(self, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Lay down what is the site's own after a round; nothing is written where nothing is."""
        from safetensors.numpy import save_file

        if not arrays:
            return
        whole = {name: np.array(array, order="C") for name, array in arrays.items()}
        with whole_file(self._file(number)) as unfinished:
            save_file(whole, str(unfinished))
        for old in self._rounds():
            if old <= number - _KEPT or old > number:
                self._file(old).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number}.safetensors"

    def _rounds(self) -> list[int]:
        return sorted(int(p.stem.removeprefix("round-")) for p in self.folder.glob("round-*.safetensors"))
