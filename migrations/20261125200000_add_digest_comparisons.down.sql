ALTER TABLE etl_watermark
    DROP COLUMN digests_compared_at, DROP COLUMN digests_version;
ALTER TABLE etl_control DROP COLUMN compares_digests;
