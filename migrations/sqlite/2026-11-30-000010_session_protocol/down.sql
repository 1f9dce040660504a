DROP TABLE revocations;
CREATE TABLE revocations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    session_id BLOB,
    generation BIGINT,
    account_id BIGINT,
    epoch      BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK ((session_id IS NOT NULL AND account_id IS NULL AND epoch IS NULL)
        OR (session_id IS NULL AND generation IS NULL AND account_id IS NOT NULL AND epoch IS NOT NULL))
);
CREATE INDEX revocations_expires_at ON revocations (expires_at);
CREATE INDEX revocations_session_id ON revocations (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX revocations_account_id ON revocations (account_id) WHERE account_id IS NOT NULL;
ALTER TABLE sessions DROP COLUMN access_ttl;
ALTER TABLE sessions DROP COLUMN parent;
