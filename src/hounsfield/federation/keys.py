"""A site's key and its fingerprint; an authority and a server's certificate, for those who have none.

The curve (P-384) and the form (PEM) are what Flower's nodes sign their requests with. A private key never
leaves its folder and may be read by its owner only.
"""

from __future__ import annotations

import ipaddress
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hounsfield.core.errors import BadInput
from hounsfield.io.files import write_secret
from hounsfield.steps.signing_key import fingerprint as fingerprint_of

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["SERVER_DAYS", "fingerprint", "load_key", "make_authority", "make_key", "require_valid"]

SERVER_DAYS = 825
"""How long a server's certificate holds; the authority's holds ten years."""

KEY, PUBLIC = "site.key", "site.pub"
CA, CA_KEY, CERTIFICATE, SERVER_KEY = "ca.crt", "ca.key", "server.crt", "server.key"


def make_key(folder: Path) -> EllipticCurvePrivateKey:
    """Make a site's key in a folder; BadInput where one is there already."""
    from cryptography.hazmat.primitives import serialization as form

    if (folder / KEY).exists():
        raise BadInput("this folder has a site's key already; use it, or name another --folder")
    key = _new_key(folder / KEY)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / PUBLIC).write_bytes(public)
    return key


def load_key(folder: Path) -> EllipticCurvePrivateKey:
    """A site's key; BadInput where there is none, others may read it, or it is of another kind."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    place = folder / KEY
    if not place.is_file():
        raise BadInput("this folder has no site's key; make one with hu site init")
    mode = stat.S_IMODE(place.stat().st_mode)
    if mode & 0o077:
        raise BadInput(
            f"the site's key may be read by others (mode {mode:04o}); close it with chmod 600 on {KEY}, and "
            "if others had access, make a new one"
        )
    key = None
    with suppress(ValueError, TypeError):
        key = load_pem_private_key(place.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise BadInput(f"{KEY} is no key of hu site init; put its copy back, or make a new one")
    return key


def fingerprint(public: EllipticCurvePublicKey) -> str:
    """The SHA-256 of a public key, by which people tell sites apart."""
    from cryptography.hazmat.primitives import serialization as form

    raw = public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return fingerprint_of(raw)


def make_authority(folder: Path, hosts: tuple[str, ...]) -> None:
    """Make `ca.crt` (to be given to the sites) and a server's certificate for these host names or addresses.

    What is there already stays. `ca.key` is needed only for the next server certificate: keep it elsewhere.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as form

    if (folder / CERTIFICATE).exists():
        return
    ca_key = _new_key(folder / CA_KEY)
    ca_name = _named("Hounsfield federation authority")
    ca = (
        _begun(ca_name, ca_name, ca_key.public_key(), days=3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, _sha256())
    )
    key = _new_key(folder / SERVER_KEY)
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        _begun(_named(hosts[0]), ca_name, key.public_key(), days=SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, _sha256())
    )
    (folder / CA).write_bytes(ca.public_bytes(form.Encoding.PEM))
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(form.Encoding.PEM))


def require_valid(path: Path, *, now: datetime | None = None) -> int:
    """The days for which a certificate still holds; BadInput where it is none, holds no more or not yet."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name} is no certificate in PEM form; name the right file") from error
    now = now or datetime.now(UTC)
    left = certificate.not_valid_after_utc - now
    if now < certificate.not_valid_before_utc:
        raise BadInput(
            f"the certificate {path.name} holds only from later on; is this machine's clock right?"
        )
    if left <= timedelta(0):
        raise BadInput(
            f"the certificate {path.name} expired {-left // timedelta(days=1)} days ago; have a new one made"
        )
    return left.days


def _begun(
    subject: x509.Name, issuer: x509.Name, public: EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a site's clock may be behind
        .not_valid_after(now + timedelta(days=days))
    )


def _named(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name[:64])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key(place: Path) -> EllipticCurvePrivateKey:
    """A key, written so that only its owner may read it."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.unlink(missing_ok=True)
    write_secret(place, secret)
    return key


def _sha256() -> SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()
