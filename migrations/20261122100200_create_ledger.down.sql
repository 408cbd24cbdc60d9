DROP TRIGGER tenants_start_watermark ON tenants;
DROP FUNCTION start_watermark();
DROP TABLE etl_process, etl_fence, etl_source, etl_rejected_row, etl_watermark_audit, etl_watermark, etl_chunk, etl_control;
DROP TYPE etl_chunk_status, etl_lane, etl_run_status, etl_run_type;
