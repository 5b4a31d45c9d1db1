"""What `make run` sets where the environment does not: everything that a deployment has to name."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

PROJECT = Path(__file__).resolve().parent.parent.parent
STATE = PROJECT / ".local"
# `make secrets` makes the same two files for the stack in containers, without Python.
PRIVATE_KEY = STATE / "jwt_private_key.pem"
PUBLIC_KEY = STATE / "jwt_public_key.pem"
SECRET_KEY = STATE / "secret_key"
ISSUER = "https://issuer.localhost"


def is_set(*names: str) -> bool:
    return any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in names)


def value(name: str) -> str:
    """A variable's value, from the environment or from the file that `<name>_FILE` names; else an empty string."""
    if file := os.environ.get(f"{name}_FILE"):
        return Path(file).read_text().rstrip("\r\n")
    return os.environ.get(name, "")


def complete() -> None:
    """Fill the gaps. Where no source of keys is named, tokens signed by a key pair in `STATE` are trusted."""
    host = os.environ.get("HOST") or "127.0.0.1"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
    os.environ.setdefault("ALLOWED_HOSTS", ",".join(dict.fromkeys(["127.0.0.1", "localhost", "[::1]", host])))
    if not is_set("SECRET_KEY"):
        if not SECRET_KEY.exists():
            write(SECRET_KEY, secrets.token_urlsafe(64).encode())
        os.environ["SECRET_KEY_FILE"] = str(SECRET_KEY)
    if trusts_own_key():
        make_key_pair()
        os.environ["JWT_PUBLIC_KEY_FILE"] = str(PUBLIC_KEY)
    if not is_set("JWT_ISSUER"):
        os.environ["JWT_ISSUER"] = ISSUER


def trusts_own_key() -> bool:
    return not is_set("JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL", "JWT_ISSUER") or (
        os.environ.get("JWT_PUBLIC_KEY_FILE") == str(PUBLIC_KEY)
    )


def make_key_pair() -> None:
    """An RSA key pair for development, once."""
    if PUBLIC_KEY.exists():
        return
    if not PRIVATE_KEY.exists():
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write(PRIVATE_KEY, made.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    key: PrivateKeyTypes = serialization.load_pem_private_key(PRIVATE_KEY.read_bytes(), password=None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write(PUBLIC_KEY, public, mode=0o644)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, so that a killed run leaves nothing half-made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.touch(mode)
    unfinished.write_bytes(content)
    unfinished.replace(path)
