DROP TABLE etl_source_audit;
