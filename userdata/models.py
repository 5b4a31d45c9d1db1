"""The one table: a value that an app keeps for an owner."""

from django.db import models
from django.db.models.functions import Now


class OwnerKind(models.TextChoices):
    """Whose data it is: a user's own, or a user's by an email, an account at an identity provider or a wallet."""

    USER = "user"
    EMAIL = "email"
    IDENTITY_PROVIDER = "idp", "identity provider"
    WALLET = "wallet"


class AccessScope(models.IntegerChoices):
    """Who may read a value, in the numbers of the API."""

    PRIVATE = 0, "private to the app"
    PUBLIC = 1, "public to the user's other apps"


class StoredValue(models.Model):
    """One value under one key of one owner, and the app that owns the key.

    Text is compared byte by byte (collation C), so that keys that merely look alike stay apart.
    """

    # Only the admin needs it: Django's can't address a row by three columns.
    id = models.BigAutoField(primary_key=True)
    owner_kind = models.TextField(choices=OwnerKind.choices, db_collation="C")
    owner_id = models.TextField("owner", db_collation="C")
    key = models.TextField(db_collation="C")
    value = models.TextField()
    app = models.TextField(db_collation="C", help_text="The app that set the key first; no other may change it.")
    access_scope = models.SmallIntegerField(choices=AccessScope.choices, default=AccessScope.PRIVATE)
    revision = models.BigIntegerField(db_default=1, help_text="How often the key has been set.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            # It leads with the owner, so that the table can be distributed by owner. `app` and `access_scope` ride
            # along so that counting and listing an app's keys read the index alone.
            models.UniqueConstraint(
                fields=["owner_kind", "owner_id", "key"],
                include=["app", "access_scope"],
                name="one_row_per_owner_and_its_key",
            )
        ]
        verbose_name = "stored key"

    def __str__(self) -> str:
        return f"stored key {self.pk}"
