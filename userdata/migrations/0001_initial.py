import django.db.models.functions.datetime
from django.db import migrations, models

# Whether an app has room for one more key of an owner: the `nth` new one of a statement.
#
# The lock lasts until the commit, so that two statements can't both take the last place. The function
# is volatile and thus sees what was committed while it waited for the lock, unlike the statement that
# calls it: a key that has come to exist meanwhile needs no room.
HAS_ROOM = """
CREATE FUNCTION userdata_has_room(
    an_owner_kind text, an_owner_id text, an_app text, a_key text, nth bigint, max_keys bigint
) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), an_owner_kind, an_owner_id, an_app), 0));
    RETURN EXISTS (
        SELECT FROM userdata_storedvalue
        WHERE owner_kind = an_owner_kind AND owner_id = an_owner_id AND key = a_key
    ) OR nth + (
        SELECT count(*) FROM userdata_storedvalue
        WHERE owner_kind = an_owner_kind AND owner_id = an_owner_id AND app = an_app
    ) <= max_keys;
END
$$
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="StoredValue",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("owner_kind", models.TextField(choices=[("user", "User")], db_collation="C")),
                ("owner_id", models.TextField(db_collation="C", verbose_name="owner")),
                ("key", models.TextField(db_collation="C")),
                ("value", models.TextField()),
                (
                    "app",
                    models.TextField(
                        db_collation="C", help_text="The app that set the key first; no other may change it."
                    ),
                ),
                (
                    "access_scope",
                    models.SmallIntegerField(
                        choices=[(0, "private to the app"), (1, "public to the user's other apps")], default=0
                    ),
                ),
                ("revision", models.BigIntegerField(db_default=1, help_text="How often the key has been set.")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "stored key",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner_kind", "owner_id", "key"), include=("app",), name="one_row_per_owner_and_key"
                    )
                ],
            },
        ),
        migrations.RunSQL(HAS_ROOM, "DROP FUNCTION userdata_has_room"),
    ]
