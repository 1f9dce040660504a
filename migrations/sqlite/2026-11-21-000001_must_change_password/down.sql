ALTER TABLE accounts DROP COLUMN must_change_password;
