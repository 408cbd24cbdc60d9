-- works from: 20261129194200
-- What of the source a tenant's last run has covered: its plan's snapshot (epoch, xmin, clock) and the instant since when it looked
-- for changes (NULL: it took everything). A later plan passes over rows that are covered. On the run as planned, on the watermark
-- once the run has ended well, with the version of the mapping and the watermark that it belongs to.
ALTER TABLE etl_control
    ADD COLUMN plan_epoch integer,
    ADD COLUMN plan_xmin  bigint,
    ADD COLUMN plan_clock timestamptz,
    ADD COLUMN plan_since timestamptz;
ALTER TABLE etl_watermark
    ADD COLUMN covered_epoch     integer,
    ADD COLUMN covered_xmin      bigint,
    ADD COLUMN covered_clock     timestamptz,
    ADD COLUMN covered_since     timestamptz,
    ADD COLUMN covered_version   bigint,
    ADD COLUMN covered_watermark timestamptz;
