-- Times are milliseconds since 1970-01-01 UTC. *_canonical columns are compared octet by octet (BINARY collation).
CREATE TABLE accounts (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    uuid               BLOB    NOT NULL UNIQUE,
    email              TEXT,
    email_canonical    TEXT    UNIQUE,
    email_verified     BOOLEAN NOT NULL DEFAULT FALSE,
    username           TEXT,
    username_canonical TEXT    UNIQUE,
    name               TEXT,
    name_canonical     TEXT    UNIQUE,
    first_name         TEXT,
    last_name          TEXT,
    gender             TEXT,
    image              TEXT,
    phone              TEXT,
    role               TEXT    NOT NULL,
    permissions        TEXT    NOT NULL DEFAULT '',
    stats              TEXT    NOT NULL DEFAULT '{}',
    profile            TEXT    NOT NULL DEFAULT '{}',
    status             TEXT    NOT NULL CHECK (status IN ('active', 'inactive', 'locked', 'suspended')),
    epoch              BIGINT  NOT NULL DEFAULT 0,
    password           TEXT,
    pin                TEXT,
    last_sign_in_at    BIGINT,
    created_at         BIGINT  NOT NULL,
    updated_at         BIGINT  NOT NULL,
    CHECK (email_canonical IS NOT NULL OR username_canonical IS NOT NULL OR name_canonical IS NOT NULL)
);

CREATE TABLE sessions (
    id                BLOB    PRIMARY KEY NOT NULL,
    account_id        BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    dialect           TEXT    NOT NULL,
    epoch             BIGINT  NOT NULL,
    generation        BIGINT  NOT NULL DEFAULT 0,
    min_generation    BIGINT  NOT NULL DEFAULT 0,
    key_id            TEXT    NOT NULL,
    rotated_at        BIGINT  NOT NULL,
    confirmed_at      BIGINT,
    created_at        BIGINT  NOT NULL,
    last_seen_at      BIGINT  NOT NULL,
    idle_expires_at   BIGINT  NOT NULL,
    expires_at        BIGINT  NOT NULL,
    access_expires_at BIGINT  NOT NULL,
    persistent        BOOLEAN NOT NULL,
    device_id         TEXT,
    device_name       TEXT,
    user_agent        TEXT,
    address           TEXT,
    ended_at          BIGINT,
    end_reason        TEXT
) WITHOUT ROWID;
CREATE INDEX sessions_account_id ON sessions (account_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Refresh tokens that are no JWT, by SHA-256: which generation of which session each one opens, also long after it was spent.
CREATE TABLE opaque_tokens (
    digest     BLOB   PRIMARY KEY NOT NULL,
    session_id BLOB   NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL
);
CREATE INDEX opaque_tokens_session_id ON opaque_tokens (session_id);

-- One row says that a session, or a session's generations below a number, or an account's epochs below a number, are dead.
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

-- Failed sign-ins in a row, by a keyed digest of what they aimed at or came from: nothing here tells who or where.
CREATE TABLE throttles (
    key           TEXT   PRIMARY KEY NOT NULL,
    failures      BIGINT NOT NULL,
    blocked_until BIGINT,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX throttles_updated_at ON throttles (updated_at);

CREATE TABLE audit_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at         BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    account_id BIGINT,
    session_id BLOB,
    address    TEXT,
    user_agent TEXT,
    request_id TEXT,
    detail     TEXT
);
CREATE INDEX audit_events_at ON audit_events (at);
