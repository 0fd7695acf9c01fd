"""Throw-away certificates."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificates(folder: Path, organisation: str = "A lab") -> tuple[Path, Path]:
    """A chain of a signer and its authority, and the signer's key, as PEM files."""
    authority, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = folder / "chain.pem"
    issuer = name("An authority")
    chain.write_bytes(
        certificate(name(organisation), issuer, signer, authority, ca=False)
        + certificate(issuer, issuer, authority, authority, ca=True)
    )
    write_key(folder / "key.pem", signer)
    return chain, folder / "key.pem"


def own(folder: Path) -> tuple[Path, Path]:
    """A certificate that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "own.pem").write_bytes(certificate(name("me"), name("me"), key, key, ca=True))
    write_key(folder / "own key.pem", key)
    return folder / "own.pem", folder / "own key.pem"


def write_key(file, key) -> None:
    """A private key as PEM."""
    form = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def name(organisation: str):
    """A distinguished name."""
    oid = x509.oid.NameOID
    return x509.Name(
        [x509.NameAttribute(oid.ORGANIZATION_NAME, organisation), x509.NameAttribute(oid.COMMON_NAME, "x")]
    )


def certificate(subject, issuer, key, authority, *, ca: bool) -> bytes:
    """A certificate of a year, as C2PA wants it."""
    now = datetime(2026, 1, 1)
    unused = "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only"
    usage = dict.fromkeys(unused.split(), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if not ca:
        purpose = x509.oid.ExtendedKeyUsageOID.EMAIL_PROTECTION
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
