from typing import Any

from django.core.management.base import BaseCommand

from hypersecureid import checks, server


class Command(BaseCommand):
    help = "Serve on HOST:PORT with WORKERS processes until told to stop."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        checks.require_safe_settings(warn=True)
        with server.listening() as queues:
            server.serve(queues)
