ALTER TABLE etl_process DROP COLUMN migration;
