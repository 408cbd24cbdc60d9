-- works from: 20261129194200
-- The snapshot of the source that a run was planned from (epoch, xmin, clock), and the instant since when its plan looked for
-- changes (NULL: it took everything). What it covers counts once the run has ended well: see etl_watermark.
ALTER TABLE etl_control
    ADD COLUMN plan_epoch integer,
    ADD COLUMN plan_xmin  bigint,
    ADD COLUMN plan_clock timestamptz,
    ADD COLUMN plan_since timestamptz;
