"""Certificates for tests of TLS and DTLS: an authority, and whoever it speaks for."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.options import TlsOptions

DAY = timedelta(days=1)


class Authority:
    """A certificate authority whose files are in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of a test")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._begin(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = self._write(f"{name}.pem", certificate)

    def issue(self, name: str, *alternatives: str, expired: bool = False) -> tuple[Path, Path]:
        """Make certificate and key of who has these DNS names and addresses; give their files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._begin(
            subject, key, datetime.now(UTC) - (2 * DAY if expired else DAY), DAY if expired else 3 * DAY
        )
        names = [_general_name(text) for text in alternatives]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        path = self._folder / f"{name}.key"
        path.touch(mode=0o600)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return self._write(f"{name}.pem", certificate), path

    def options(self, name: str = "exporter", **others: object) -> TlsOptions:
        """TLS options of an exporter with a certificate of ours, who trusts us."""
        certificate, key = self.issue(name, "exporter.test")
        values = {"ca_file": str(self.file), "certificate": str(certificate), "key": str(key)} | others
        return TlsOptions(**values)  # type: ignore[arg-type]

    def _begin(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begin: datetime | None = None,
        life: timedelta = 3 * DAY,
    ) -> x509.CertificateBuilder:
        begin = begin or datetime.now(UTC) - DAY
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + life)
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._folder / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate, in hexadecimal digits."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()
