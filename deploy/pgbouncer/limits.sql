-- What the service sets on each of its connections, as defaults of its user: for a pooler that hands out another session
-- for each transaction, where a setting of one session says nothing about the next. Run it once as the database's owner.
ALTER ROLE CURRENT_USER SET statement_timeout = '1s';
ALTER ROLE CURRENT_USER SET lock_timeout = '200ms';
ALTER ROLE CURRENT_USER SET synchronous_commit = on;
ALTER ROLE CURRENT_USER SET jit = off;
ALTER ROLE CURRENT_USER SET enable_seqscan = off;
ALTER ROLE CURRENT_USER SET enable_bitmapscan = off;
