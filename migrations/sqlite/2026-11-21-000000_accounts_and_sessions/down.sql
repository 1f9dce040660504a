DROP TABLE audit_events;
DROP TABLE throttles;
DROP TABLE revocations;
DROP TABLE opaque_tokens;
DROP TABLE sessions;
DROP TABLE accounts;
