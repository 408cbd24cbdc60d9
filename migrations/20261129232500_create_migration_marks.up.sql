-- Which releases work with the tables of a migration: processes that have migration `works_from` built in, or a newer one. An
-- older release reads this before it starts on tables that were migrated by a newer one. A migration without a row is one
-- that only a release with it works with. `tidemark migrate` writes a row for each file with the line `works from`.
-- works from: 20261129194200
CREATE TABLE etl_migration (
    version    bigint NOT NULL,
    works_from bigint NOT NULL,
    CONSTRAINT etl_migration_pkey PRIMARY KEY (version),
    CONSTRAINT etl_migration_works_from CHECK (works_from <= version)
);
GRANT SELECT ON etl_migration TO etl_service, console_service, admin_users;
