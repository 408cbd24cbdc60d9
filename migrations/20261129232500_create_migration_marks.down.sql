DROP TABLE etl_migration;
