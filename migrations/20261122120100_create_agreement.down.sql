DROP INDEX etl_control_finished_idx;
DROP TABLE etl_agreement;
