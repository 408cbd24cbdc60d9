ALTER TABLE etl_watermark_audit DROP COLUMN began_at;
