-- works from: 20261129194200
-- What of the source a tenant's last run has covered, as its plan had it: a later plan passes over rows that are covered. With the
-- version of the mapping and the watermark that it belongs to.
ALTER TABLE etl_watermark
    ADD COLUMN covered_epoch     integer,
    ADD COLUMN covered_xmin      bigint,
    ADD COLUMN covered_clock     timestamptz,
    ADD COLUMN covered_since     timestamptz,
    ADD COLUMN covered_version   bigint,
    ADD COLUMN covered_watermark timestamptz;
