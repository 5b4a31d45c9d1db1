from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from userdata import owners
from userdata.management.users import user_id
from userdata.models import OwnerKind, StoredValue


class Command(BaseCommand):
    help = (
        "Delete all that is kept for a user: by the user id, by email, by account at an identity provider and by "
        "wallet, of every app. Close the account at the identity provider first: with a token that is still good, an "
        "app could store anew."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, type=user_id, help="The user's id: the sub of the tokens.")
        parser.add_argument("--no-input", action="store_true", help="Do not ask first.")

    def handle(self, *args: Any, **options: Any) -> None:
        user: str = options["user"]
        if not options["no_input"]:
            self._confirm(user)
        for kind, count in self._erase(user).items():
            self.stdout.write(f"{kind}: {count}")

    def _confirm(self, user: str) -> None:
        count = owners.rows_of(user).count()
        try:
            answer = input(f"Delete {count} keys of user {user} for good? Type 'yes' to go on: ")
        except EOFError:
            raise CommandError("Nobody is there to answer: nothing was deleted. --no-input does without.") from None
        if answer != "yes":
            raise CommandError("Nothing was deleted.")

    @transaction.atomic
    def _erase(self, user: str) -> dict[str, int]:
        """The number of rows deleted, by kind of owner."""
        # Locked in the order in which the service locks them, so that the two never wait for each other.
        in_order = owners.rows_of(user).order_by("owner_kind", "owner_id", "key").select_for_update()
        locked = dict(in_order.values_list("pk", "owner_kind"))
        StoredValue.objects.filter(pk__in=locked).delete()
        counts = Counter(locked.values())
        return {kind: counts[kind] for kind in OwnerKind.values}
