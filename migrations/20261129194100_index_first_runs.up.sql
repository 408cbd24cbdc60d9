-- serves the finalizer's question whether a first full run has ended since the last ANALYZE; one entry a tenant
CREATE INDEX etl_control_first_full_idx ON etl_control (finished_at) WHERE type = 'full' AND watermark_start IS NULL;
