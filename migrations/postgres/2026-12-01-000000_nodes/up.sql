-- The processes that serve this database: each compares its keys and its clock with those of the others.
CREATE TABLE nodes (
    id           BYTEA PRIMARY KEY NOT NULL,
    -- The ids of its signing keys and of its peppers, separated by spaces.
    signing_keys TEXT NOT NULL,
    peppers      TEXT NOT NULL,
    -- By the database's clock, in milliseconds since 1970; 0 once it has stopped.
    seen_at      BIGINT NOT NULL,
    -- The node's clock minus the database's, in milliseconds.
    clock_offset BIGINT NOT NULL
);
