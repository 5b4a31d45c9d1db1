from django.db import migrations, models

OLD, NEW = "one_row_per_owner_and_key", "one_row_per_owner_and_its_key"

# The same unique index with one more column to be read from it, built and swapped in while writes go on. What a run
# that was broken off has left, an invalid index, is dropped first, so that the migration can be run again.
REPLACE = [
    f"DROP INDEX CONCURRENTLY IF EXISTS {NEW}",
    f"CREATE UNIQUE INDEX CONCURRENTLY {NEW} ON userdata_storedvalue (owner_kind, owner_id, key)"
    " INCLUDE (app, access_scope)",
    f"DROP INDEX CONCURRENTLY IF EXISTS {OLD}",
]
RESTORE = [
    f"DROP INDEX CONCURRENTLY IF EXISTS {OLD}",
    f"CREATE UNIQUE INDEX CONCURRENTLY {OLD} ON userdata_storedvalue (owner_kind, owner_id, key) INCLUDE (app)",
    f"DROP INDEX CONCURRENTLY IF EXISTS {NEW}",
]


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently outside of any transaction

    dependencies = [("userdata", "0001_initial")]

    operations = [
        migrations.AlterField(
            "StoredValue",
            "owner_kind",
            models.TextField(
                choices=[
                    ("user", "User"),
                    ("email", "Email"),
                    ("idp", "identity provider"),
                    ("wallet", "Wallet"),
                ],
                db_collation="C",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL([*REPLACE], [*RESTORE])],
            state_operations=[
                migrations.RemoveConstraint("StoredValue", OLD),
                migrations.AddConstraint(
                    "StoredValue",
                    models.UniqueConstraint(
                        fields=("owner_kind", "owner_id", "key"), include=("app", "access_scope"), name=NEW
                    ),
                ),
            ],
        ),
    ]
