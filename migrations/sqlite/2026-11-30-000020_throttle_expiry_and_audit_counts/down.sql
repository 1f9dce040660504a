DROP INDEX audit_events_minute;
ALTER TABLE audit_events DROP COLUMN minute;
ALTER TABLE audit_events DROP COLUMN count;
DROP INDEX throttles_expires_at;
CREATE INDEX throttles_updated_at ON throttles (updated_at);
ALTER TABLE throttles DROP COLUMN expires_at;
