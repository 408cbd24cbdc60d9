DROP TABLE etl_sender;
