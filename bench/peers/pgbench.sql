\set user random(1, :users)
\set key random(1, :keys)
\set digits random(100000, 999999)
INSERT INTO userdata_storedvalue AS v (owner_kind, owner_id, key, value, app, access_scope)
VALUES ('user', md5(:user::text)::uuid::text, 'key-' || :key::text,
        'pgbench-value-of-32-bytes-' || :digits::text, 'bench-app', 0)
ON CONFLICT (owner_kind, owner_id, key) DO UPDATE
SET value = excluded.value, revision = v.revision + 1, updated_at = now()
WHERE v.app = excluded.app;
