"""What `make run` sets where the environment does not: everything that a deployment has to name."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

STATE = Path(__file__).resolve().parent.parent.parent / ".local"
PRIVATE_KEY = STATE / "jwt_private_key.pem"
PUBLIC_KEY = STATE / "jwt_public_key.pem"
SECRET_KEY = STATE / "secret_key"
ISSUER = "https://issuer.localhost"


def is_set(*names: str) -> bool:
    return any(os.environ.get(name) or os.environ.get(f"{name}_FILE") for name in names)


def complete() -> None:
    """Fill the gaps. Where no source of keys is named, tokens signed by a key pair in `STATE` are trusted."""
    host = os.environ.get("HOST", "127.0.0.1")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
    os.environ.setdefault("ALLOWED_HOSTS", ",".join(dict.fromkeys(["127.0.0.1", "localhost", "[::1]", host])))
    if not is_set("SECRET_KEY"):
        if not SECRET_KEY.exists():
            _write(SECRET_KEY, secrets.token_urlsafe(64).encode())
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
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write(
        PRIVATE_KEY,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    _write(
        PUBLIC_KEY,
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        mode=0o644,
    )


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, so that a killed run leaves nothing half-made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.touch(mode)
    unfinished.write_bytes(content)
    unfinished.replace(path)
