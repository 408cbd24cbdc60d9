DROP TABLE etl_source_watch;
