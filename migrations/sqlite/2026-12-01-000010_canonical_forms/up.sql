-- The version of the rule by which identifiers are compared (the *_canonical columns of accounts) that every account follows.
CREATE TABLE canonical_forms (
    version BIGINT PRIMARY KEY NOT NULL
);
