import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from userdata import owners
from userdata.management.users import user_id

ROWS_AT_ONCE = 50  # a value may have 256 KiB


class Command(BaseCommand):
    help = (
        "Write all that is kept for a user to stdout, one JSON object a line: by the user id, by email, by account at "
        "an identity provider and by wallet, of every app."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, type=user_id, help="The user's id: the sub of the tokens.")

    @transaction.atomic  # a cursor at the server, so that one chunk is held at a time, and all are of one moment
    def handle(self, *args: Any, **options: Any) -> None:
        rows = owners.rows_of(options["user"]).order_by("owner_kind", "owner_id", "key")
        for stored in rows.iterator(chunk_size=ROWS_AT_ONCE):
            line = {
                "kind": stored.owner_kind,
                **owners.parts(stored),
                "app": stored.app,
                "key": stored.key,
                "value": stored.value,
                "access_scope": stored.access_scope,
                "revision": stored.revision,
                "created_at": stored.created_at.isoformat(),
                "updated_at": stored.updated_at.isoformat(),
            }
            # ASCII, which every terminal and file takes, and in which no value can end its line.
            self.stdout.write(json.dumps(line))
