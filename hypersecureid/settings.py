"""Every setting, read from the environment once, at start.

Each variable `X` can also come from a file that `X_FILE` names, as secrets do in containers.
A value that can't be read stops the start with one sentence; what can be read but would run
unsafely is refused by `hypersecureid.checks`. docs/configuration.md describes each variable.
"""

import os
import sys
from ipaddress import ip_address
from pathlib import Path

import dj_database_url
import structlog
from django.core.exceptions import ImproperlyConfigured
from environs import FileAwareEnv, validate
from environs.exceptions import EnvError, EnvValidationError
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

BASE_DIR = Path(__file__).resolve().parent.parent

env = FileAwareEnv(strip_whitespace=True)
_at_least_one = validate.Range(min=1)


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

    # Where the service listens.
    HOST = env.str("HOST", "127.0.0.1")
    PORT = env.int("PORT", 8000, validate=validate.Range(min=1, max=65535))
    WORKERS = env.int("WORKERS", 2, validate=_at_least_one)
    HTTPS_PROXY_HEADERS = env.bool("TRUST_PROXY_HEADERS", False)

    DATABASE_URL = env.str("DATABASE_URL")

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

    CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", ["*"])

    # The limits of the contract. 400 characters are the most that a PostgreSQL index entry surely holds.
    MAX_KEY_CHARS = env.int("MAX_KEY_CHARS", 128, validate=validate.Range(min=1, max=400))
    MAX_VALUE_BYTES = env.int("MAX_VALUE_BYTES", 262_144, validate=validate.Range(min=0, max=64 * 2**20))
    MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 2 * 2**20, validate=validate.Range(min=1, max=512 * 2**20))
    MAX_KEYS_PER_APP = env.int("MAX_KEYS_PER_APP", 2_000, validate=_at_least_one)

    _database = dj_database_url.parse(DATABASE_URL)
    make_conninfo(**_database.get("OPTIONS", {}))
except EnvValidationError as problem:
    reasons = problem.error_messages if isinstance(problem.error_messages, list) else [str(problem).rstrip(".")]
    raise ImproperlyConfigured(f"{str(problem).partition(':')[0]}: {' '.join(map(str, reasons))}") from problem
except EnvError as problem:
    raise ImproperlyConfigured(f"{problem}.") from problem
except ProgrammingError as problem:
    raise ImproperlyConfigured("DATABASE_URL has an option that PostgreSQL does not know.") from problem
except dj_database_url.UnknownSchemeError as problem:
    raise ImproperlyConfigured("DATABASE_URL must be a URL such as postgresql://user:password@host/name.") from problem
except (dj_database_url.ParseError, ValueError) as problem:
    # The URL may hold a password, so the cause's own words, which may quote it, stay unsaid.
    unreadable = problem.args[0] if "readable file" in str(problem) else "DATABASE_URL is not a valid URL."
    raise ImproperlyConfigured(unreadable) from None

for _name in env.dump():
    if _name in os.environ and f"{_name}_FILE" in os.environ:
        raise ImproperlyConfigured(f"Both {_name} and {_name}_FILE are set; set one of them.")

if _database["ENGINE"] != "django.db.backends.postgresql" or not _database["NAME"]:
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

MIDDLEWARE = ["hypersecureid.middleware.BrowserMiddleware"]
# They look for middlewares of the admin's, which BrowserMiddleware holds.
SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]

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

# The admin and the migrations use this connection; the API has its own, in userdata/pool.py.
DATABASES = {
    "default": _database
    | {
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 2} | _database.get("OPTIONS", {}),
    }
}

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# Cookies exist in the admin only. Loopback is the one place where it is reached without TLS.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_BIND
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

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "userdata.openapi.EndpointSchema",
    "EXCEPTION_HANDLER": "userdata.exceptions.answer",
    "UNAUTHENTICATED_USER": None,
}

# Read by simplejwt; the key itself is chosen in userdata/keys.py.
SIMPLE_JWT = {
    "AUTH_HEADER_TYPES": ("Bearer",),
    "AUTH_TOKEN_CLASSES": ("userdata.tokens.AccessToken",),
    "USER_ID_CLAIM": "sub",
    "JTI_CLAIM": None,
    "ISSUER": JWT_ISSUER,
    "AUDIENCE": JWT_AUDIENCE or None,
    "LEEWAY": JWT_LEEWAY_SECONDS,
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
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
}

UNFOLD = {
    "SITE_TITLE": "User data",
    "SITE_HEADER": "HyperSecureID user data",
    "SITE_URL": "/docs",
    "SHOW_VIEW_ON_SITE": False,
}

# --- Logs: one JSON object a line on stderr, readable lines on a terminal -------------------------

_stamps: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_renderers: list[structlog.typing.Processor] = (
    [structlog.dev.ConsoleRenderer()]
    if sys.stderr.isatty()
    else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
)
structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_stamps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "events": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers],
            "foreign_pre_chain": _stamps,
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"level": "WARNING"},
        # A client's mistakes are its own; an unforeseen error is logged where it is answered.
        "django.request": {"level": "CRITICAL"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # The statements it would tell of hold the values.
        "django.db.backends": {"level": "INFO"},
    },
}
