DROP INDEX etl_control_rare_type_idx;
