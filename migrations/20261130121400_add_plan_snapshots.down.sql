ALTER TABLE etl_control
    DROP COLUMN plan_since,
    DROP COLUMN plan_clock,
    DROP COLUMN plan_xmin,
    DROP COLUMN plan_epoch;
