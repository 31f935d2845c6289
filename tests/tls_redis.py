"""A redis-server that speaks TLS alone, with certificates of an authority of its own."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.redis_server import RedisServer

_DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates for loopback; everything lies in `folder`."""

    folder: Path

    @cached_property
    def ca_file(self) -> Path:
        path = self.folder / "ca.pem"
        path.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key, for a server at 127.0.0.1 or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _begun(name, self._own.subject, key)
            .add_extension(address, critical=False)
            .add_extension(usage, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def _own(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tests {self.folder.name}"[:60])])
        return (
            _begun(None, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_SIGNS, critical=True)
            .sign(self._key, hashes.SHA256())
        )


_SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def _begun(name: str | None, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if name else issuer
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


class TlsRedis(RedisServer):
    """Its plain port is closed; clients show a certificate where `asks_clients`."""

    def __init__(
        self, folder: Path, authority: Authority, *, binary: str, password: str, asks_clients: bool = False
    ) -> None:
        cert_file, key_file = authority.issue("redis")
        super().__init__(folder, binary=binary, password=password)
        self.authority = authority
        self._options |= {
            "tls-port": str(self.port),
            "port": "0",
            "tls-cert-file": str(cert_file),
            "tls-key-file": str(key_file),
            "tls-ca-cert-file": str(authority.ca_file),
            "tls-auth-clients": "yes" if asks_clients else "no",
        }
        if asks_clients:
            own_cert, own_key = authority.issue("test")
            self._own = f"&ssl_certfile={own_cert}&ssl_keyfile={own_key}"
        else:
            self._own = ""

    @property
    def bare_url(self) -> str:
        """Without password and certificates."""
        return f"rediss://127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        return f"rediss://:{self.password}@127.0.0.1:{self.port}/0?ssl_ca_certs={self.authority.ca_file}{self._own}"


def tls_redis_binary() -> str | None:
    """The system's redis-server, where it was built with TLS; the embedded one was not."""
    binary = shutil.which("redis-server")
    if binary is None:
        return None
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    return binary if "libssl" in linked.stdout else None


def plain_answer_of(port: int) -> bytes:
    """What a server on loopback says to a command in plain text."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        try:
            return connection.recv(1024)
        except ConnectionResetError:
            return b""
