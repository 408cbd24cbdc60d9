DROP INDEX etl_control_verify_idx;
DROP TABLE etl_verification_fault, etl_verification_part;
ALTER TABLE etl_verification
    DROP COLUMN run_id, DROP COLUMN stale, DROP COLUMN pending, DROP COLUMN unproven;
ALTER TABLE tenants DROP COLUMN verify_interval;
