"""The proxy of the compose stack: Debian's nginx with the stack's own configuration."""

import datetime
import ipaddress
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import PROJECT, free_port
from tests.server.conftest import wait_until
from tests.server.wire import Wire

TEMPLATE = PROJECT / "deploy/nginx/nginx.conf.template"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@dataclass
class Nginx:
    process: subprocess.Popen[str]
    port: int
    tls_port: int
    certificate: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start_nginx(folder: Path, upstream_port: int, requests_per_second: int = 200) -> Nginx:
    """nginx in front of a server on this machine; all that it writes is in the folder."""
    certificate = self_signed_certificate(folder)
    port, tls_port = free_port(), free_port()
    configuration = fill_in(
        TEMPLATE.read_text(),
        {
            "LISTEN_HTTP": f"127.0.0.1:{port}",
            "LISTEN_HTTPS": f"127.0.0.1:{tls_port}",
            "PUBLIC_HTTPS_PORT": str(tls_port),
            "UPSTREAM": f"127.0.0.1:{upstream_port}",
            "REQUESTS_PER_SECOND": str(requests_per_second),
            "TLS_CERTIFICATE": str(certificate),
            "TLS_CERTIFICATE_KEY": str(certificate),
        },
    )
    (folder / "nginx.conf").write_text(configuration)
    log = folder / "log"
    with log.open("a") as output:
        process = subprocess.Popen(command(folder), stdout=output, stderr=output, text=True)
    nginx = Nginx(process, port, tls_port, certificate, log)
    wait_until(lambda: process.poll() is not None or listens(port), 10)
    assert process.poll() is None, log.read_text()
    return nginx


def command(folder: Path, *arguments: str) -> list[str]:
    # As root, nginx would let its workers run as a user who can't enter the folder.
    directives = "daemon off;" + (" user root;" if os.getuid() == 0 else "")
    return [str(NGINX), "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-g", directives, *arguments]


def listens(port: int) -> bool:
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return False
    return True


def fill_in(template: str, values: dict[str, str]) -> str:
    """What envsubst does with variables in braces; each must be known."""
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], template)


def self_signed_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file
