DROP TABLE canonical_forms;
