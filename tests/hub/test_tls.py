"""Certificates that are renewed on the disk are used for new connections, without a restart and without a gap."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ecotone.hub.settings import Tls
from ecotone.hub.tls import Certificates
from ecotone.values import ConfigError


def certificate(folder: Path, name: str) -> tuple[bytes, bytes]:
    """A new certificate that signs itself, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def write(folder: Path, name: str) -> Tls:
    cert, key = certificate(folder, name)
    for file, content in ((folder / "cert.pem", cert), (folder / "key.pem", key)):
        fresh = file.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, file)
    return Tls(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def refused(port: int) -> None:
    """TLS 1.2 is not spoken."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection)


async def seen(port: int) -> tuple[str, str]:
    """(the certificate's name, the protocol) that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    connection = writer.get_extra_info("ssl_object")
    shown = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    writer.write(b"x")
    assert await reader.read(1) == b"x"
    writer.close()
    return str(shown.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value), connection.version()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1):
        writer.write(piece)
    writer.close()


def test_a_renewed_certificate_is_used_and_open_connections_stay(tmp_path: Path) -> None:
    files = write(tmp_path, "first")
    certificates = Certificates(files)

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificates.context)
        port = server.sockets[0].getsockname()[1]
        assert await seen(port) == ("first", "TLSv1.3")
        context = ssl.create_default_context(cafile=files.cert)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")

        assert not certificates.refresh()
        write(tmp_path, "second")
        assert certificates.refresh()
        assert (await seen(port))[0] == "second"
        writer.write(b"y")
        assert await reader.read(1) == b"y"
        writer.close()

        (tmp_path / "key.pem").write_bytes(b"half a k")
        assert not certificates.refresh()
        assert (await seen(port))[0] == "second"
        write(tmp_path, "third")
        assert certificates.refresh()
        assert (await seen(port))[0] == "third"

        await asyncio.to_thread(refused, port)
        server.close()
        await server.wait_closed()

    uvloop.run(main())


def test_what_is_no_certificate_is_told_at_the_start(tmp_path: Path) -> None:
    files = write(tmp_path, "one")
    (tmp_path / "key.pem").write_bytes(certificate(tmp_path, "other")[1])
    for name in (files.cert, str(tmp_path / "none.pem")):
        with pytest.raises(ConfigError) as caught:
            Certificates(Tls(cert=name, key=files.key))
        assert caught.value.code == "hub.tls"
