"""Every setting, read from the environment once, at start.

Each variable `X` can also come from a file that `X_FILE` names, as secrets do in containers.
A value that can't be read stops the start with one sentence; what can be read but would run
unsafely is refused by `hypersecureid.checks`. docs/configuration.md describes each variable.
"""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import FileAwareEnv, ValidationError, validate
from environs.exceptions import EnvError, EnvValidationError
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from hypersecureid import logs

VERSION = "1.0.0"

BASE_DIR = Path(__file__).resolve().parent.parent

env = FileAwareEnv(strip_whitespace=True)
_at_least_one = validate.Range(min=1)

_is_rate = validate.Regexp(
    r"([1-9][0-9]{0,8}/(s|sec|second|m|min|minute|h|hour|d|day))?\Z",
    error="Must be a number of requests and a time, such as 600/min or 10/second.",
)


def _is_redis_url(url: str) -> None:
    """Raise `ValidationError` unless it is a URL of a Redis or empty. It may hold a password, so it stays unsaid."""
    try:
        parts = urlsplit(url)
        known = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"} if parts.scheme == "rediss" else set()
        asked = set(parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        port = parts.port
    except ValueError:
        parts, known, asked, port = urlsplit(""), set(), set(), None
    is_good = parts.scheme in {"redis", "rediss"} and parts.hostname and port != 0 and asked <= known
    if url and not (is_good and re.fullmatch("(/[0-9]{0,3})?", parts.path) and not parts.fragment):
        raise ValidationError("Must be a URL such as redis://user:password@host:6379/0, or rediss://… for TLS.")


def _host_is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


try:
    DEBUG = env.bool("DEBUG", False)
    SECRET_KEY = env.str("SECRET_KEY")
    ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS")
    LOG_LEVEL = env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
    LOG_REQUESTS = env.bool("LOG_REQUESTS", True)

    # Where the service listens.
    HOST = env.str("HOST", "127.0.0.1")
    PORT = env.int("PORT", 8000, validate=validate.Range(min=1, max=65535))
    WORKERS = env.int("WORKERS", 2, validate=_at_least_one)
    HTTPS_PROXY_HEADERS = env.bool("TRUST_PROXY_HEADERS", False)

    DATABASE_URL = env.str("DATABASE_URL")
    DATABASE_PREPARED_STATEMENTS = env.bool("DATABASE_PREPARED_STATEMENTS", True)

    # Access tokens: who issued them, for whom, and the one source of the keys that verify them.
    JWT_ISSUER = env.str("JWT_ISSUER", "")
    JWT_AUDIENCE = env.str("JWT_AUDIENCE", "")
    JWT_ALGORITHMS: list[str] = env.list("JWT_ALGORITHMS", [])
    JWT_SECRET = env.str("JWT_SECRET", "")
    JWT_PUBLIC_KEY = env.str("JWT_PUBLIC_KEY", "")
    JWT_JWKS_URL = env.str("JWT_JWKS_URL", "")
    JWT_JWKS_REFRESH_SECONDS = env.float("JWT_JWKS_REFRESH_SECONDS", 300, validate=_at_least_one)
    JWT_JWKS_MAX_AGE_SECONDS = env.float("JWT_JWKS_MAX_AGE_SECONDS", 86_400, validate=_at_least_one)
    JWT_LEEWAY_SECONDS = env.int("JWT_LEEWAY_SECONDS", 30, validate=validate.Range(min=0, max=300))

    # Where a user has accounts that data can be kept by, and the claim that holds an account's id.
    JWT_IDENTITY_PROVIDERS: list[str] = env.list("JWT_IDENTITY_PROVIDERS", [])
    JWT_IDENTITY_PROVIDER_CLAIM = env.str("JWT_IDENTITY_PROVIDER_CLAIM", "{}_user_id")

    CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", ["*"])

    # The limits of the API. Besides, a key has at most 512 bytes.
    MAX_KEY_CHARS = env.int("MAX_KEY_CHARS", 128, validate=validate.Range(min=1, max=400))
    MAX_VALUE_BYTES = env.int("MAX_VALUE_BYTES", 262_144, validate=validate.Range(min=0, max=64 * 2**20))
    MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 2 * 2**20, validate=validate.Range(min=1, max=512 * 2**20))
    MAX_KEYS_PER_APP = env.int("MAX_KEYS_PER_APP", 2_000, validate=_at_least_one)
    MAX_KEYS_PER_REQUEST = env.int("MAX_KEYS_PER_REQUEST", 100, validate=validate.Range(min=1, max=10_000))
    MAX_VALUES_BYTES = env.int("MAX_VALUES_BYTES", 8 * 2**20, validate=validate.Range(min=1, max=512 * 2**20))

    # How many requests a user may send by an app, and where they are counted for all workers together.
    RATE_LIMIT = env.str("RATE_LIMIT", "", validate=_is_rate)
    REDIS_URL = env.str("REDIS_URL", "", validate=_is_redis_url)

    # By PostgreSQL's own rules, so that what works for psql works here: several hosts, a socket's folder, any option.
    _database: dict[str, Any] = dict(conninfo_to_dict(DATABASE_URL))
except EnvValidationError as problem:
    reasons = problem.error_messages if isinstance(problem.error_messages, list) else [str(problem).rstrip(".")]
    raise ImproperlyConfigured(f"{str(problem).partition(':')[0]}: {' '.join(map(str, reasons))}") from problem
except EnvError as problem:
    raise ImproperlyConfigured(f"{problem}.") from problem
except ProgrammingError:
    # The URL may hold a password, so the cause's own words, which may quote it, stay unsaid.
    raise ImproperlyConfigured(
        "DATABASE_URL is no URL such as postgresql://user:password@host/name, or has an unknown option."
    ) from None
except ValueError as problem:
    raise ImproperlyConfigured(str(problem)) from None

for _name in env.dump():
    if _name in os.environ and f"{_name}_FILE" in os.environ:
        raise ImproperlyConfigured(f"Both {_name} and {_name}_FILE are set; set one of them.")

if not DATABASE_URL.startswith(("postgresql://", "postgres://")) or not _database.get("dbname"):
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database: postgresql://user:password@host/name.")

PUBLIC_BIND = not _host_is_loopback(HOST)

# --- Django ---------------------------------------------------------------------------------------

ROOT_URLCONF = "hypersecureid.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

INSTALLED_APPS = [
    "hypersecureid",
    "userdata",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

# Of pages; API paths pass them by (hypersecureid/asgi.py).
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The admin and the migrations use this connection; the API has its own, in userdata/storage/pool.py.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.pop("dbname"),
        "USER": _database.pop("user", ""),
        "PASSWORD": _database.pop("password", ""),
        "HOST": _database.pop("host", ""),
        "PORT": _database.pop("port", ""),
        "CONN_MAX_AGE": 0,  # pages are drawn in threads that end with them
        "OPTIONS": {"connect_timeout": 2} | _database,
    }
}

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Cookies exist in the admin only. Loopback without a proxy is the one place where it is reached without TLS.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_BIND or HTTPS_PROXY_HEADERS
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
if HTTPS_PROXY_HEADERS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- The API --------------------------------------------------------------------------------------

# What the views do not use is not set here: hypersecureid/checks.py refuses what would have no effect.
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "userdata.openapi.EndpointSchema",
    "EXCEPTION_HANDLER": "userdata.exceptions.answer",
    "UNAUTHENTICATED_USER": None,
}

CORS_URLS_REGEX = r"^/user-data/"
CORS_ALLOW_ALL_ORIGINS = "*" in CORS_ALLOWED_ORIGINS
if CORS_ALLOW_ALL_ORIGINS:
    CORS_ALLOWED_ORIGINS = []
CORS_ALLOW_METHODS = ["POST"]
CORS_ALLOW_HEADERS = ["authorization", "content-type"]
CORS_EXPOSE_HEADERS = ["Retry-After", "WWW-Authenticate", "X-Request-Id", "X-Result-Detail"]

SPECTACULAR_SETTINGS = {
    "TITLE": "HyperSecureID user data",
    "DESCRIPTION": "Small values that apps keep for their users.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
}

UNFOLD = {
    "SITE_TITLE": "User data",
    "SITE_HEADER": "HyperSecureID user data",
    "SITE_URL": "/docs",
    "SHOW_VIEW_ON_SITE": False,
}

LOGGING = logs.configuration(LOG_LEVEL)
