ALTER TABLE etl_watermark DROP COLUMN absent_columns;
