"""One private step: every patient's gradient is cut to one length, they are added, and noise is laid on.

DP-SGD (Abadi 2016): whether one patient was there moves the sum by `clip` at most, and the noise hides that.
The patient is the unit: the images of one patient that a step sees make one gradient. Who is seen is drawn
for each patient by itself, since that is what the accountants count (`accounting`); the chance of a patient,
`rate`, does not depend on the others.

In local training, in place of `Batches.epoch`, `Batches.pieces` and `Learner.step`:

```python
draws = PrivateDraws(batches, patients[batches.training], rate=rate)   # as many numbers as cases that train
step = PrivateStep(learner.network, terms, clip=plan.federation.clip, noise=noise, expected=draws.expected)
with step:
    for number in range(steps):
        rng = secret_rng(secret, plan_hash, round, weights_digest, number)
        set_rate(learner.optimiser, rate_at(…))
        step.gradient(draws.pieces(rng), rng)  # FedProx's and SCAFFOLD's terms may then be added to p.grad
        learner.optimiser.step()
```
The loss that `gradient` returns is for the site's own eyes: it is not protected, and must not leave.
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hounsfield.core.errors import BadInput
from hounsfield.federation.privacy.patient_gradients import RowGradients
from hounsfield.steps.batches import Epoch, Piece
from hounsfield.transforms.draw import draw

if TYPE_CHECKING:
    from hounsfield.core.plan import Plan
    from hounsfield.steps.batches import Batches

__all__ = ["PrivateDraws", "PrivateStep", "refuse_unprotected", "secret_rng"]

Terms = Callable[[Tensor, Tensor], Tensor]

_LITTLE = 1e-12


def refuse_unprotected(plan: Plan) -> None:
    """BadInput where a plan with a budget asks for what would carry a patient past the noise.

    >>> from hounsfield.core.plan import Plan
    >>> refuse_unprotected(Plan.checked({"federation": {"strategy": "fedavg", "epsilon": 8}}))
    Traceback (most recent call last):
    hounsfield.core.errors.BadInput: fit.class_weights is on, which lets one patient's answer weigh all \
others; expected it off where federation.epsilon is set; set fit.class_weights=false
    """
    if not plan.federation.private:
        return
    faults = (
        (plan.fit.class_weights, "fit.class_weights", "false", "lets one patient's answer weigh all others"),
        (plan.augment.mixup > 0, "augment.mixup", "0", "blends patients into one image"),
        (plan.mitigation.method != "none", "mitigation.method", "none", "lets groups weigh all patients"),
        (plan.pretrain.epochs > 0, "pretrain.epochs", "0", "learns from images without noise"),
    )
    for fault, key, value, why in faults:
        if fault:
            raise BadInput(
                f"{key} is on, which {why}; expected it off where federation.epsilon is set; "
                f"set {key}={value}"
            )


def secret_rng(secret: bytes, *where: str | int) -> np.random.Generator:
    """The randomness of a step that only the holder of `secret` (32 bytes) can repeat: noise and who is seen.

    Noise that others can repeat is no noise. `where` must hold the plan's hash, the round, a digest of the
    weights that came in, and the step: the same question gets the same answer, and gives nothing away twice;
    any other question gets fresh noise. Philox (Salmon 2011) under a key of HMAC-SHA-256.

    >>> a, b = (secret_rng(b"s" * 32, "plan", 1, n).standard_normal() for n in (0, 1))
    >>> a == secret_rng(b"s" * 32, "plan", 1, 0).standard_normal(), a == b
    (True, False)
    """
    if len(secret) < 32:
        raise ValueError(f"a secret of {len(secret)} bytes; expected at least 32")
    said = b"\0".join(str(part).encode() for part in where)
    key = hmac.new(secret, said, hashlib.sha256).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], np.uint64)))


class PrivateDraws:
    """Who is seen in a step: each patient by a coin of its own, with at most `most_images` drawn images.

    `patients` (N,) are numbers that say which of the N training cases belong together, in the order of
    `batches.training`. `rate` is the chance of a patient, `expected` how many come on average.
    """

    def __init__(
        self,
        batches: Batches,
        patients: NDArray[np.int64],
        *,
        rate: float,
        most_images: int = 4,
        most_rows: int = 64,
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"a chance of {rate} to be seen; expected above 0 and at most 1")
        self.batches, self.rate, self.most_images, self.most_rows = batches, rate, most_images, most_rows
        self.names, self.patient = np.unique(patients, return_inverse=True)
        self.expected = rate * len(self.names)
        order = np.argsort(self.patient, kind="stable")
        self._images = np.split(order, np.cumsum(np.bincount(self.patient))[:-1])

    def drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the images in `batches.training`, and the patient of each, patient by patient."""
        seen = np.flatnonzero(rng.random(len(self.names)) < self.rate)
        taken = []
        for who in seen:
            own = self._images[who]
            if len(own) > self.most_images:
                own = rng.choice(own, self.most_images, replace=False)
            taken.append(own)
        places = np.concatenate(taken) if taken else np.zeros(0, np.int64)
        return places, self.patient[places]

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        """The images, changed as the plan says, in pieces of whole patients, whom `Piece.who` tells."""
        places, who = self.drawn(rng)
        order = self.batches.training[places]
        plan, n = self.batches.plan.augment, len(order)
        moves = plan.is_spatial or plan.is_intensity or plan.cutout
        changes = draw(plan, n, self.batches.shape, rng) if moves and n else None
        epoch = Epoch(order, changes)
        for low, high in _whole_patients(who, self.most_rows):
            made = next(self.batches.pieces(epoch, 0, (low, high), 1))
            yield Piece(made.images, made.wanted, low, high, n, who=who[low:high])


class PrivateStep:
    """Puts a private gradient where the optimiser finds it; as a context it leaves the network as it was.

    `terms` gives the losses of rows, (n,) or (n, outputs), without means (`tasks.classification.terms_of`).
    `clip` is the length of a patient's gradient, `noise` the standard deviation of the noise in units of
    `clip`, `expected` how many patients a step sees on average: never how many it saw. Computes in float32.
    Raises BadInput for a network that mixes the images of a batch.
    """

    def __init__(
        self, network: nn.Module, terms: Terms, *, clip: float, noise: float, expected: float
    ) -> None:
        if clip <= 0 or noise < 0 or expected <= 0:
            raise ValueError("a private step with a clip, a noise or an expected size below 0")
        self.network, self.terms = network, terms
        self.clip, self.noise, self.expected = clip, noise, expected
        self.rows = RowGradients(network)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rows.close()

    def gradient(self, pieces: Iterable[Piece], rng: np.random.Generator) -> float:
        """Set every parameter's `grad`; the mean loss of the rows, NaN where nobody was seen.

        `rng` draws the noise, and dropout; all images of a patient must lie in one piece.
        """
        self.network.train()
        torch.manual_seed(int(rng.integers(2**63)))
        sums = [torch.zeros_like(p) for p in self.rows.learning]
        lost, seen = 0.0, 0
        for piece in pieces:
            if piece.who is None:
                raise ValueError("a piece that does not say whose its images are")
            lost += self._add(piece.images, piece.wanted, piece.who, sums)
            seen += len(piece.who)
        for parameter, total in zip(self.rows.learning, sums, strict=True):
            if self.noise > 0:
                drawn = rng.standard_normal(total.numel(), np.float32)
                total += torch.from_numpy(drawn).view(total.shape).to(total.device) * (self.noise * self.clip)
            parameter.grad = total / self.expected
        return lost / seen if seen else float("nan")

    def _add(self, images: Tensor, wanted: Tensor, who: NDArray[np.int64], sums: list[Tensor]) -> float:
        """Add the patients' cut gradients to `sums`; the summed loss of the rows."""
        _, patient, count = np.unique(who, return_inverse=True, return_counts=True)
        place = torch.from_numpy(patient).to(images.device)
        share = torch.from_numpy(1.0 / count[patient]).to(images.device, torch.float32)
        losses = self.terms(self.network(images), wanted)
        losses = losses.flatten(1).mean(1) if losses.ndim > 1 else losses
        with warnings.catch_warnings():  # the first layer's hook fires without a gradient of the images
            warnings.filterwarnings("ignore", "Full backward hook", UserWarning)
            (losses * share).sum().backward()  # type: ignore[no-untyped-call]
        found = [_as_laid(rows) for rows in self.rows.taken()]
        rows = [row for row, _ in found]
        weigh = self._cut(rows, place, len(count))[place]
        for total, (row, order) in zip(sums, found, strict=True):
            laid = total.permute(order)
            laid += (weigh @ row).view(laid.shape)
        return float(losses.detach().sum())

    def _cut(self, rows: list[Tensor], place: Tensor, patients: int) -> Tensor:
        """By how much each patient's gradient is shortened; a gradient that is not finite becomes nothing."""
        square = torch.zeros(patients, device=place.device)
        for row in rows:
            if patients < len(place):
                whole = torch.zeros(patients, row.shape[1], device=row.device).index_add_(0, place, row)
            else:
                whole = row
            square += torch.linalg.vector_norm(whole, dim=1).square()
        broken = ~torch.isfinite(square)
        if bool(broken.any()):
            for row in rows:
                row[broken[place]] = 0.0
            square = square.masked_fill(broken, 0.0)
        return (self.clip / square.sqrt().clamp_min(_LITTLE)).clamp_max(1.0)


def _as_laid(rows: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Gradients (rows, …) as (rows, P) in the order of their memory, and the order of a row's axes in it."""
    order = sorted(range(1, rows.ndim), key=rows.stride, reverse=True)
    return rows.permute(0, *order).flatten(1), tuple(axis - 1 for axis in order)


def _whole_patients(who: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Stretches [low, high) of at most about `most` rows that cut no patient in two.

    >>> list(_whole_patients(np.array([4, 4, 7, 9, 9, 9]), 3))
    [(0, 3), (3, 6)]
    """
    starts = np.flatnonzero(np.diff(who, prepend=who[:1] - 1)) if len(who) else np.zeros(0, np.int64)
    low = 0
    for start, end in zip(starts, [*starts[1:], len(who)], strict=True):
        if end - low > most and start > low:
            yield low, int(start)
            low = int(start)
    if len(who):
        yield low, len(who)
