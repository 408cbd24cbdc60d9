ALTER TABLE etl_watermark
    DROP COLUMN plan_error;
