"""The SQL of the store, and what each statement promises.

Each finds its rows by the unique index, whatever the planner believes of the table: a scalar or `LATERAL` look-up can't
be turned into a join of the whole table, as `EXISTS` and `IN` can. A plan outlives what it was made for: it is prepared
once for each connection, perhaps on an empty table.

Each that writes begins nothing after `expires`, a time of the server's clock in seconds since 1970: a server that was
frozen may come to a statement when its caller has been told of a failure, and others have written since.
"""

# Stores all rows of a batch; returns the places that it did not write to.
#
# A key of the app's own is written without counting anything, and is not made anew if it is deleted meanwhile. For each
# new key the function `userdata_has_room` takes the lock on the app's keys of that owner and counts them; the rank
# among the new keys of the same batch is added. All those locks are taken, in order, before those of the rows, which
# are sorted, and each is locked and written before the next one: no two batches can wait for each other.
PUT = """
WITH given AS MATERIALIZED (
    SELECT i.*, (
        SELECT v.app FROM userdata_storedvalue v
        WHERE v.owner_kind = i.owner_kind AND v.owner_id = i.owner_id AND v.key = i.key
    ) AS held_by
    FROM unnest(
        %(owner_kinds)b::text[], %(owner_ids)b::text[], %(keys)b::text[], %(values)b::text[], %(apps)b::text[],
        %(access_scopes)b::int2[], %(writes)b::int8[]
    ) WITH ORDINALITY AS i(owner_kind, owner_id, key, value, app, access_scope, writes, nth)
), admitted AS (
    SELECT nth FROM (
        SELECT given.*, row_number() OVER (PARTITION BY owner_kind, owner_id, app ORDER BY nth) AS rank
        FROM given WHERE held_by IS NULL
    ) AS new
    WHERE userdata_has_room(owner_kind, owner_id, app, key, rank, %(max_keys)b::int8)
), stored AS (
    INSERT INTO userdata_storedvalue AS v (owner_kind, owner_id, key, value, app, access_scope, revision)
    SELECT owner_kind, owner_id, key, value, app, access_scope, writes
    FROM (
        SELECT * FROM given ORDER BY owner_kind COLLATE "C", owner_id COLLATE "C", key COLLATE "C" OFFSET 0
    ) AS given
    WHERE clock_timestamp() < to_timestamp(%(expires)b::float8) AND (
        nth = ANY (ARRAY(SELECT nth FROM admitted)) OR held_by = app AND (
            SELECT true FROM userdata_storedvalue h
            WHERE h.owner_kind = given.owner_kind AND h.owner_id = given.owner_id AND h.key = given.key
            FOR NO KEY UPDATE
        )
    )
    ON CONFLICT (owner_kind, owner_id, key) DO UPDATE
    SET value = excluded.value, access_scope = excluded.access_scope,
        revision = v.revision + excluded.revision, updated_at = now()
    WHERE v.app = excluded.app
    RETURNING owner_kind, owner_id, key
)
SELECT owner_kind, owner_id, key FROM given EXCEPT SELECT owner_kind, owner_id, key FROM stored
"""

# Overwrites one key of the app's own; returns a row if it was there. For a row that comes alone, as most do while there
# is little to do: it takes a sixth less time than PUT, which is left with new keys and with telling what is wrong.
UPDATE = """
UPDATE userdata_storedvalue
SET value = %(value)b, access_scope = %(access_scope)b::int2, revision = revision + %(writes)b::int8, updated_at = now()
WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND key = %(key)b::text
    AND app = %(app)b::text AND clock_timestamp() < to_timestamp(%(expires)b::float8)
RETURNING 1
"""

# Who owns a key, how many the app has, and whether there is time to write it: asked only when a row was not written.
WHY_NOT_PUT = """
SELECT (
    SELECT app FROM userdata_storedvalue
    WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND key = %(key)b::text
), (
    SELECT count(*) FROM userdata_storedvalue
    WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND app = %(app)b::text
), clock_timestamp() < to_timestamp(%(expires)b::float8)
"""

# The values of a batch of reads, each an array of owner kind, owner id, app and names: of each name, the app's own key,
# else the public one that another app shares under that name. Places in both arrays are counted from 1. Values leave
# the database only while those of one read fit `max_bytes`, or where there is just one; their sizes are known without
# reading them.
GET = """
SELECT read, nth, CASE WHEN sum(size) OVER one_read <= %(max_bytes)b::int8 OR count(*) OVER one_read = 1 THEN value END
FROM jsonb_array_elements(%(reads)b) WITH ORDINALITY AS r(asked, read)
CROSS JOIN LATERAL jsonb_array_elements(asked->3) WITH ORDINALITY AS n(name, nth)
CROSS JOIN LATERAL (
    SELECT octet_length(v.value) AS size, v.value FROM userdata_storedvalue v
    WHERE v.owner_kind = asked->>0 AND v.owner_id = asked->>1 AND v.key = name->>0 AND v.app = asked->>2
    UNION ALL
    SELECT octet_length(v.value), v.value FROM userdata_storedvalue v
    WHERE v.owner_kind = asked->>0 AND v.owner_id = asked->>1 AND v.key = name->>2 AND v.app = name->>1
        AND v.access_scope = 1
    LIMIT 1
) AS found
WINDOW one_read AS (PARTITION BY read)
"""

# An app's own keys with their access scopes, in key order; reads the index alone.
LIST = """
SELECT key, access_scope FROM userdata_storedvalue
WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND app = %(app)b::text
ORDER BY key
"""

# A page of the public keys of an owner's other apps, in key order; reads the index alone.
LIST_SHARED = """
SELECT app, key FROM userdata_storedvalue
WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND key > %(after)b::text
    AND app <> %(app)b::text AND access_scope = 1
ORDER BY key LIMIT %(page_size)b::int8
"""

# Deletes an app's own keys; returns those that were there, or NULL where it came too late to look. The rows are locked
# in the order in which PUT locks them.
DELETE = """
WITH start AS MATERIALIZED (
    SELECT clock_timestamp() < to_timestamp(%(expires)b::float8) AS in_time
), held AS MATERIALIZED (
    SELECT key FROM userdata_storedvalue
    WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text AND key = ANY (%(keys)b::text[])
        AND app = %(app)b::text AND (SELECT in_time FROM start)
    ORDER BY key FOR UPDATE
), deleted AS (
    DELETE FROM userdata_storedvalue
    WHERE owner_kind = %(owner_kind)b::text AND owner_id = %(owner_id)b::text
        AND key = ANY (ARRAY(SELECT key FROM held))
    RETURNING key
)
SELECT key FROM deleted UNION ALL SELECT NULL FROM start WHERE NOT in_time
"""

CHECK = "SELECT FROM userdata_storedvalue LIMIT 0"

# What each connection of the store is set to. An answer follows a durable commit, whatever the server's default. Plans
# are made once, and never go over the whole table.
SESSION = """
SET statement_timeout = '{statement}s'; SET lock_timeout = '{lock}s'; SET synchronous_commit = on;
SET client_encoding = 'UTF8'; SET plan_cache_mode = force_generic_plan; SET jit = off;
SET enable_seqscan = off; SET enable_bitmapscan = off
"""

CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
