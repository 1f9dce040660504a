-- When a row of the throttle says nothing any more; null while it counts until it is reset.
ALTER TABLE throttles ADD COLUMN expires_at BIGINT;
-- Nothing reads the keys of the version before.
DELETE FROM throttles;
DROP INDEX throttles_updated_at;
CREATE INDEX throttles_expires_at ON throttles (expires_at);

-- Events of one kind, account and address within a minute may share a row: how many they are, and that minute since 1970.
ALTER TABLE audit_events ADD COLUMN count BIGINT NOT NULL DEFAULT 1;
ALTER TABLE audit_events ADD COLUMN minute BIGINT;
CREATE INDEX audit_events_minute ON audit_events (account_id, minute) WHERE minute IS NOT NULL;
