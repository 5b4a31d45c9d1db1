-- A bucket for each user, with one collection and the user's records, as Kinto itself would have stored them.
-- Settings `bench.users`, `bench.keys` and a table `bench_user (n, name, userid)` come from the caller.

INSERT INTO objects (parent_id, resource_name, id, last_modified, data, deleted)
SELECT '', 'bucket', name, '2026-01-01'::timestamp + n * interval '1 ms', '{}', false FROM bench_user;

INSERT INTO objects (parent_id, resource_name, id, last_modified, data, deleted)
SELECT '/buckets/' || name, 'collection', 'values', '2026-01-01', '{}', false FROM bench_user;

INSERT INTO objects (parent_id, resource_name, id, last_modified, data, deleted)
SELECT '/buckets/' || name || '/collections/values', 'record', 'key-' || k,
       '2026-01-01'::timestamp + k * interval '1 ms', '{"value": ""}', false
FROM bench_user, generate_series(1, current_setting('bench.keys')::int) AS k;

INSERT INTO access_control_entries (object_id, permission, principal)
SELECT '/buckets/' || name, 'write', userid FROM bench_user
UNION ALL
SELECT '/buckets/' || name || '/collections/values', 'write', userid FROM bench_user
UNION ALL
SELECT '/buckets/' || name || '/collections/values/records/key-' || k, 'write', userid
FROM bench_user, generate_series(1, current_setting('bench.keys')::int) AS k;
