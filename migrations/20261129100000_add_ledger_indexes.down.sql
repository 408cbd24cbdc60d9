DROP INDEX etl_control_ended_badly_idx;
DROP INDEX etl_chunk_troubled_idx;
DROP INDEX etl_chunk_dead_idx;
DROP INDEX etl_chunk_open_idx;
