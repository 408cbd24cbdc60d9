DROP TABLE etl_verification;
