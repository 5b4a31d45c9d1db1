"""The stored values."""

from django.db import models


class UserValue(models.Model):
    """One value under one key of one user."""

    owner_id = models.CharField(max_length=255)
    key = models.CharField(max_length=128)
    value = models.TextField(blank=True)
    app = models.CharField(max_length=255)
    revision = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner_id", "key"], name="one_value_per_key")]

    def __str__(self) -> str:
        return f"{self.owner_id} / {self.key}"
