-- The one generation below the current that may still be presented: the predecessor of a rotation.
ALTER TABLE sessions ADD COLUMN parent BIGINT;
UPDATE sessions SET parent = generation - 1 WHERE generation > min_generation;
-- The lifetime of access tokens that the sign-in asked for, in milliseconds.
ALTER TABLE sessions ADD COLUMN access_ttl BIGINT NOT NULL DEFAULT 0;

-- Revocations name accounts by their UUID, which no restored backup gives to another account, and may except a session: the
-- one that changed the password.
DROP TABLE revocations;
CREATE TABLE revocations (
    id                INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    session_id        BLOB,
    generation        BIGINT,
    account_uuid      BLOB,
    epoch             BIGINT,
    except_session_id BLOB,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    CHECK ((session_id IS NOT NULL AND account_uuid IS NULL AND epoch IS NULL AND except_session_id IS NULL)
        OR (session_id IS NULL AND generation IS NULL AND account_uuid IS NOT NULL AND epoch IS NOT NULL))
);
CREATE INDEX revocations_expires_at ON revocations (expires_at);
CREATE INDEX revocations_session_id ON revocations (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX revocations_account_uuid ON revocations (account_uuid) WHERE account_uuid IS NOT NULL;
