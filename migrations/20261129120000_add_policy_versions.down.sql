DROP INDEX etl_control_unfinished_backfill_idx;
ALTER TABLE etl_watermark DROP COLUMN policy_version;
ALTER TABLE tenants DROP COLUMN policy_version;
