"""What a secure sum is made of: agreed keys, streams that mask, shares that open, numbers that wrap around.

Flower's primitives of SecAgg+ fold the 256 bits of a seed to 32 before they draw a mask (`pseudo_rand_gen`),
so that whoever sees a masked vector may try all seeds; here a mask is the key stream of ChaCha20 (RFC 8439)
under the whole seed. Keys are agreed on by X25519 (RFC 7748) and HKDF, shares are Shamir's, by Flower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from hounsfield.core.errors import BadInput
from hounsfield.federation.flower import need

__all__ = [
    "Pair",
    "Ring",
    "agreed",
    "from_ring",
    "joined",
    "opened",
    "scale_of",
    "sealed",
    "shares_of",
    "stream",
    "to_ring",
]

Ring = NDArray[np.uint32]
"""Whole numbers modulo 2**32; masks over them are uniform, and cancel exactly."""

_HALF = 2.0**31


class Pair:
    """A key pair of X25519: 32 bytes each, `secret` and `public`.

    >>> a, b = Pair(), Pair()
    >>> agreed(a.secret, b.public, b"mask") == agreed(b.secret, a.public, b"mask")
    True
    """

    def __init__(self) -> None:
        key = X25519PrivateKey.generate()
        self.secret, self.public = key.private_bytes_raw(), key.public_key().public_bytes_raw()


def agreed(secret: bytes, public: bytes, purpose: bytes) -> bytes:
    """32 bytes that only the owners of both pairs know, for one purpose. BadInput for a bad key."""
    try:
        shared = X25519PrivateKey.from_private_bytes(secret).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError as error:
        raise BadInput(
            "a key of a secure sum is no point of its curve; expected 32 bytes of X25519"
        ) from error
    return HKDF(hashes.SHA256(), 32, None, b"hounsfield secure sum " + purpose).derive(shared)


def stream(seed: bytes, n: int) -> Ring:
    """A mask of `n` numbers from a seed of 32 bytes.

    >>> a, b = stream(bytes(32), 4), stream(bytes(31) + b"\\1", 4)
    >>> bool((a == stream(bytes(32), 4)).all()), bool((a == b).any())
    (True, False)
    """
    drawn = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(4 * n))
    return np.frombuffer(drawn, "<u4").astype(np.uint32)


def sealed(key: bytes, plain: bytes, about: bytes) -> bytes:
    """`plain` for the one who agreed on `key`, bound to what it is `about`; a key seals one message only."""
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, about)


def opened(key: bytes, cipher: bytes, about: bytes) -> bytes:
    """What was sealed. BadInput where it was changed, or was for somebody else."""
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), cipher, about)
    except InvalidTag as error:
        raise BadInput(
            "a share of a secure sum was changed on its way; expected it as it was sealed"
        ) from error


def shares_of(secret: bytes, *, of: Sequence[int], threshold: int) -> dict[int, bytes]:
    """A share for each site of `of`, any `threshold` of which give `secret` back (Shamir 1979).

    >>> parts = shares_of(b"s" * 32, of=[7, 8, 9], threshold=2)
    >>> joined({8: parts[8], 7: parts[7]}) == b"s" * 32
    True
    """
    create = need("flwr.common.secure_aggregation.crypto.shamir").create_shares
    return dict(zip(of, create(secret, threshold, len(of)), strict=True))


def joined(shares: Mapping[int, bytes]) -> bytes:
    """The secret of which these are shares. BadInput where they do not belong together."""
    combine = need("flwr.common.secure_aggregation.crypto.shamir").combine_shares
    try:
        found: bytes = combine(list(shares.values()))
    except ValueError as error:
        raise BadInput(
            "shares of a secure sum do not belong together; expected shares of one secret"
        ) from error
    return found


def scale_of(largest: float, *, sites: int) -> float:
    """How many steps of the ring 1.0 takes, where `sites` numbers of at most `largest` are added."""
    return (_HALF - 1 - sites) / (sites * max(largest, 1e-12))


def to_ring(values: NDArray[np.float64], scale: float) -> Ring:
    """Rounded to whole steps; negative numbers wrap around.

    >>> from_ring(to_ring(np.array([-0.25, 1.0]), 1e6), 1e6).tolist()
    [-0.25, 1.0]
    """
    return np.rint(values * scale).astype(np.int64).astype(np.uint32)


def from_ring(total: Ring, scale: float) -> NDArray[np.float64]:
    """The numbers that a sum in the ring stands for."""
    return total.view(np.int32).astype(np.float64) / scale
