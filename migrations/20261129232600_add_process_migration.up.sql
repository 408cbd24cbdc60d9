-- The newest migration that each process has built in. `tidemark migrate` refuses a migration that running processes do not
-- work with. NULL: a release before this migration.
-- works from: 20261129194200
ALTER TABLE etl_process ADD COLUMN migration bigint;
