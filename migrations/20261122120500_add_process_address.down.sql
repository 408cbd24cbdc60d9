ALTER TABLE etl_process DROP COLUMN http_address;
