CREATE TABLE user_value (
    owner_id text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    app text NOT NULL,
    access_scope smallint NOT NULL DEFAULT 0,
    revision bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, key)
);
