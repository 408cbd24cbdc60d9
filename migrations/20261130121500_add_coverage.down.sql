ALTER TABLE etl_watermark
    DROP COLUMN covered_watermark,
    DROP COLUMN covered_version,
    DROP COLUMN covered_since,
    DROP COLUMN covered_clock,
    DROP COLUMN covered_xmin,
    DROP COLUMN covered_epoch;
