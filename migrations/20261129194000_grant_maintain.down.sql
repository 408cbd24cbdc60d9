DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        EXECUTE 'REVOKE MAINTAIN ON conversations_analytics FROM etl_service';
    END IF;
END
$$;
