"""The user's own Ed25519 key: made at its first use, kept in their configuration folder, never in a run.

The private key lies in `XDG_CONFIG_HOME/hounsfield/signing-key.pem` (PKCS 8, mode 0600; `~/.config` where the
variable is not set), the public one beside it, to be given to whoever is to check signatures.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput
from hounsfield.io.files import write_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "fingerprint",
    "key_folder",
    "own_fingerprint",
    "own_key",
    "wanted_fingerprint",
    "written_fingerprint",
]

PRIVATE, PUBLIC = "signing-key.pem", "signing-key.pub.pem"
LARGEST = 16_384
"""Bytes; no key file is larger."""


def key_folder() -> Path:
    """The folder of the key, made or not; BadInput where the user has no home."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        home = Path(given) if Path(given).is_absolute() else Path.home() / ".config"
    except RuntimeError as error:
        raise BadInput("this user has no home folder for a signing key; set XDG_CONFIG_HOME") from error
    return home / "hounsfield"


def own_key() -> Ed25519PrivateKey:
    """The user's private key, made now if there is none.

    Raises BadInput where it cannot be made, cannot be read, or may be read by others.
    """
    place = key_folder() / PRIVATE
    try:
        if not place.exists():
            _make(place)
        return _loaded(place)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise BadInput(
            f"the signing key in the configuration folder cannot be used ({why.lower()}); make that folder "
            "writable, or set XDG_CONFIG_HOME to one that is"
        ) from error


def own_fingerprint() -> str:
    """The fingerprint of the user's key, "" where none was made yet or it cannot be used; makes none."""
    with suppress(BadInput, OSError):
        place = key_folder() / PRIVATE
        if place.exists():
            return fingerprint(_loaded(place).public_key().public_bytes_raw())
    return ""


def fingerprint(public: bytes) -> str:
    """The SHA-256 of a public key's bytes, by which people tell keys apart.

    >>> fingerprint(bytes(32))[:23]
    'sha256:66687aadf862bd77'
    """
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def written_fingerprint(given: str) -> str:
    """A fingerprint as a person wrote it, in its one form; "" for anything else.

    >>> written_fingerprint(" SHA256:" + "0F" * 32)[:11]
    'sha256:0f0f'
    """
    digits = re.sub(r"^sha256:|[\s:]", "", given.strip().lower())
    return f"sha256:{digits}" if re.fullmatch("[0-9a-f]{64}", digits) else ""


def wanted_fingerprint(given: str) -> str:
    """The fingerprint that `--key` names: written out, or that of the public key in a file.

    Raises BadInput for anything else, and for a private key, which nobody but its owner should hold.

    >>> wanted_fingerprint("SHA256:" + "AB" * 32)[:15]
    'sha256:abababab'
    """
    if written := written_fingerprint(given):
        return written
    if not Path(given).is_file():
        raise BadInput(
            "--key is neither a fingerprint (sha256: and 64 hexadecimal digits) nor a file; give what the "
            "signer told you, or their signing-key.pub.pem"
        )
    return fingerprint(_public_in(Path(given)))


def _make(place: Path) -> None:
    """Write a new key whole or not at all; one that another process made meanwhile stays."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    unfinished = place.with_name(f".{place.stem}.{secrets.token_hex(8)}")
    try:
        write_secret(unfinished, secret)
        if not _placed(unfinished, place):
            return
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    with suppress(OSError):
        place.with_name(PUBLIC).write_bytes(public)


def _placed(unfinished: Path, place: Path) -> bool:
    """Give the file its name, unless that is taken; True if it was given."""
    try:
        os.link(unfinished, place)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) or place.exists():
            raise
        unfinished.rename(place)  # a file system without hard links
    return True


def _loaded(place: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    with place.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise BadInput(
                f"the signing key may be read by others (mode {stat.S_IMODE(mode):04o}), so it proves "
                f"nothing; close it with chmod 600 on {PRIVATE}, or remove it to have a new one made"
            )
        content = file.read(LARGEST)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(
            f"{PRIVATE} in the configuration folder is no Ed25519 key without a password; remove it to have "
            "a new one made"
        )
    return key


def _public_in(path: Path) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

    with path.open("rb") as file:
        content = file.read(LARGEST)
    if b"PRIVATE KEY" in content:
        raise BadInput(f"--key names a private key; it belongs to its owner alone; name {PUBLIC} beside it")
    for read in (load_pem_public_key, load_ssh_public_key):
        with suppress(Exception):  # what the library raises for foreign bytes differs from form to form
            key = read(content)
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
    raise BadInput("--key names a file without an Ed25519 public key; expected signing-key.pub.pem")
