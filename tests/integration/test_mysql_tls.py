"""Encryption between us and MySQL or MariaDB sources: what each mode asks for is what both clients hold to."""

import ipaddress
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cdc_pipelines.replication.databases.mysql.connection import connect, connect_reader
from cdc_pipelines.replication.errors import ConfigurationError
from cdc_pipelines.replication.pipeline import Source, Tls
from tests.integration.conftest import SourceServer
from tests.integration.own_servers import own_server


def both(spec: Source) -> None:
    """Open and close one connection of each kind."""
    connect(spec, purpose="test").close()
    connect_reader(spec, purpose="test").close()


class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and a client's one, as PEM files that the servers can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = ec.generate_private_key(ec.SECP256R1())
        authority = self._sign("authority", key.public_key(), "authority", key, authority=True)
        self._write("ca.pem", authority.public_bytes(serialization.Encoding.PEM))
        for name, address in (("server", "127.0.0.1"), ("elsewhere", "192.0.2.1"), ("client", None)):
            own = ec.generate_private_key(ec.SECP256R1())
            signed = self._sign(name, own.public_key(), "authority", key, address=address)
            self._write(f"{name}.pem", signed.public_bytes(serialization.Encoding.PEM))
            self._write(f"{name}.key", own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ))
        folder.chmod(0o755)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)
        (self.folder / name).chmod(0o644)

    @staticmethod
    def _sign(name: str, public: ec.EllipticCurvePublicKey, issuer: str, key: ec.EllipticCurvePrivateKey, *,
              authority: bool = False, address: str | None = None) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(key, hashes.SHA256())


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    folder = Path(tempfile.mkdtemp(prefix="cdc-pem-"))
    yield Certificates(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["mysql", "mariadb"])
def encrypted(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Source]:
    settings = [f"--ssl-ca={certificates.path('ca.pem')}", f"--ssl-cert={certificates.path('server.pem')}",
                f"--ssl-key={certificates.path('server.key')}"]
    with own_server(request.param, *settings) as access, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OWN_PASSWORD", access.password)
        yield Source(type=request.param, host="127.0.0.1", port=access.port, database="mysql", user="cdc",
                     password="${env:OWN_PASSWORD}")


def ciphers(spec: Source) -> tuple[str, str]:
    """The cipher of each kind of connection; empty for none."""
    with connect(spec, purpose="test") as conn, conn.cursor() as cursor:
        cursor.execute("show status like 'ssl_cipher'")
        first = cursor.fetchone()[1]
    with connect_reader(spec, purpose="test") as reader:
        return first, reader.query("show status like 'ssl_cipher'")[0][1]


@pytest.mark.parametrize("mode", ["prefer", "require", "verify_ca", "verify_identity"])
def test_encryption_is_used(encrypted: Source, certificates: Certificates, mode: str) -> None:
    ca = certificates.path("ca.pem") if mode.startswith("verify") else None
    assert all(ciphers(encrypted.model_copy(update={"tls": Tls(mode=mode, ca=ca)})))


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_the_systems_certificates_are_not_read_where_none_is_checked(
    encrypted: Source, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Reading them takes longer than the rest of a login, and every look at a source logs in."""
    read: list[object] = []
    monkeypatch.setattr("ssl.create_default_context", lambda *_, **__: read.append(mode))
    assert all(ciphers(encrypted.model_copy(update={"tls": Tls(mode=mode)})))
    assert not read


def test_encryption_is_left_out_where_told_so(encrypted: Source) -> None:
    assert ciphers(encrypted.model_copy(update={"tls": Tls(mode="disable")})) == ("", "")


def test_a_certificate_of_another_authority_is_refused(encrypted: Source, tmp_path: Path) -> None:
    other = Certificates(tmp_path)
    for mode in ("verify_ca", "verify_identity"):
        spec = encrypted.model_copy(update={"tls": Tls(mode=mode, ca=other.path("ca.pem"))})
        for open_it in (connect, connect_reader):
            with pytest.raises(ConfigurationError) as caught:
                open_it(spec, purpose="test")
            assert "source.tls" in caught.value.next_step


def test_a_certificate_for_another_name_is_refused(encrypted: Source, certificates: Certificates) -> None:
    ca = certificates.path("ca.pem")
    spec = encrypted.model_copy(update={"host": "localhost", "tls": Tls(mode="verify_identity", ca=ca)})
    for open_it in (connect, connect_reader):
        with pytest.raises(ConfigurationError) as caught:
            open_it(spec, purpose="test")
        assert "source.tls" in caught.value.next_step
    both(encrypted.model_copy(update={"host": "localhost", "tls": Tls(mode="verify_ca", ca=ca)}))


def test_a_client_certificate_is_sent(encrypted: Source, certificates: Certificates) -> None:
    with connect(encrypted, purpose="test") as conn, conn.cursor() as cursor:
        cursor.execute("create user strict@'%' identified by 'own-server' require x509")
        cursor.execute("grant select on *.* to strict@'%'")
    spec = encrypted.model_copy(update={"user": "strict"})
    with pytest.raises(ConfigurationError):
        connect(spec, purpose="test")
    tls = Tls(mode="require", cert=certificates.path("client.pem"), key=certificates.path("client.key"))
    both(spec.model_copy(update={"tls": tls}))


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_server_without_encryption_is_refused_where_it_is_asked_for(
    server: SourceServer, certificates: Certificates
) -> None:
    """The stack's MariaDB has no TLS. The C client alone would have gone on in clear text."""
    assert ciphers(server.source.spec) == ("", "")
    for tls in (Tls(mode="require"), Tls(mode="verify_ca", ca=certificates.path("ca.pem"))):
        for open_it in (connect, connect_reader):
            with pytest.raises(ConfigurationError) as caught:
                open_it(server.spec(tls=tls), purpose="test")
            assert "source.tls" in caught.value.next_step


def test_a_missing_certificate_file_is_named(server: SourceServer) -> None:
    tls = Tls(mode="verify_ca", ca="/no/such/ca.pem")
    for open_it in (connect, connect_reader):
        with pytest.raises(ConfigurationError, match=r"/no/such/ca\.pem"):
            open_it(server.spec(tls=tls), purpose="test")
