from django.db import migrations

# Whether an app has room for one more key of an owner: the `nth` new one of a statement.
#
# The lock lasts until the commit, so that two statements can't both take the last place. The function
# is volatile and thus sees what was committed while it waited for the lock, unlike the statement that
# calls it: a key that has come to exist meanwhile has its place already, and may be gone again before
# it is written.
HAS_ROOM = """
CREATE OR REPLACE FUNCTION userdata_has_room(
    an_owner_kind text, an_owner_id text, an_app text, a_key text, nth bigint, max_keys bigint
) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), an_owner_kind, an_owner_id, an_app), 0));
    RETURN nth + (
        SELECT count(*) FROM userdata_storedvalue
        WHERE owner_kind = an_owner_kind AND owner_id = an_owner_id AND app = an_app AND key <> a_key
    ) <= max_keys;
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("userdata", "0002_storages")]

    operations = [migrations.RunSQL(HAS_ROOM, migrations.RunSQL.noop)]
