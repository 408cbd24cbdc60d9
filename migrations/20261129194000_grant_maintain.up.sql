-- The finalizer runs ANALYZE after a tenant's first full run. From PostgreSQL 17 on that takes no owner.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        EXECUTE 'GRANT MAINTAIN ON conversations_analytics TO etl_service';
    END IF;
END
$$;
