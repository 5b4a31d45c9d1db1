"""The production server's settings, with a bound on connections that a test can reach."""

from hypersecureid.gunicorn import *  # noqa: F403 - gunicorn reads the settings from this module
from hypersecureid.gunicorn import ServiceWorker

workers = 1
ServiceWorker.CONFIG_KWARGS = ServiceWorker.CONFIG_KWARGS | {"limit_concurrency": 4}
