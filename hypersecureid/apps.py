from django.apps import AppConfig
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries


class ProjectConfig(AppConfig):
    name = "hypersecureid"

    def ready(self) -> None:
        from hypersecureid import checks  # noqa: F401 - registers them

        # API requests use neither Django's connections nor its caches; the admin's middleware looks after its own.
        for signal in (request_started, request_finished):
            signal.disconnect(close_old_connections)
        request_started.disconnect(reset_queries)
        request_finished.disconnect(close_caches)
