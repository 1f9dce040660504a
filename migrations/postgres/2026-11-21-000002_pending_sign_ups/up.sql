-- Sign-ups that wait for whoever reads the address's mail: what the account will be, and whether the mail has gone.
CREATE TABLE pending_sign_ups (
    id                 BYTEA   PRIMARY KEY NOT NULL,
    email              TEXT   NOT NULL,
    email_canonical    TEXT   NOT NULL,
    username           TEXT,
    username_canonical TEXT,
    name               TEXT,
    name_canonical     TEXT,
    first_name         TEXT,
    last_name          TEXT,
    gender             TEXT,
    image              TEXT,
    phone              TEXT,
    profile            TEXT   NOT NULL,
    password           TEXT   NOT NULL,
    language           TEXT   NOT NULL,
    return_to          TEXT,
    tries              BIGINT NOT NULL DEFAULT 0,
    mail_attempts      BIGINT NOT NULL DEFAULT 0,
    mail_due_at        BIGINT,
    mailed_at          BIGINT,
    created_at         BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL
);
CREATE INDEX pending_sign_ups_email_canonical ON pending_sign_ups (email_canonical);
CREATE INDEX pending_sign_ups_expires_at ON pending_sign_ups (expires_at);
CREATE INDEX pending_sign_ups_mail_due_at ON pending_sign_ups (mail_due_at) WHERE mail_due_at IS NOT NULL;
