ALTER TABLE tenants
    DROP CONSTRAINT tenants_sync_interval_bounded,
    DROP CONSTRAINT tenants_verify_interval_bounded,
    DROP CONSTRAINT tenants_lookback_bounded;
