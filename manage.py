#!/usr/bin/env python
"""Django's command line: `migrate`, `check`, `createsuperuser`, and this service's `serve`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import DatabaseError

from hypersecureid import database_problems


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypersecureid.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))
    except DatabaseError as problem:
        sentence = database_problems.recognize(problem)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.exit(sentence)


if __name__ == "__main__":
    main()
