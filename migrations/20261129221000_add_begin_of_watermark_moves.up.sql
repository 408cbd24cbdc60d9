-- A line of the audit stands for several moves when a tenant is idle: moved_at is the last of them, began_at the first. Charts
-- of the console need both. NULL: written before this migration.
ALTER TABLE etl_watermark_audit ADD COLUMN began_at timestamptz;
ALTER TABLE etl_watermark_audit ALTER COLUMN began_at SET DEFAULT now();
