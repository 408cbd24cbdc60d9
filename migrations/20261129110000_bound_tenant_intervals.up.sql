-- No pause of a tenant and no lookback is longer than a process can count with: a plan takes the lookback off an instant,
-- and an interval of a million years ended it in a panic. What is longer than that today becomes the longest.
UPDATE tenants
SET sync_interval = least(sync_interval, interval '366 days'),
    verify_interval = least(verify_interval, interval '366 days'),
    lookback = least(lookback, interval '366 days')
WHERE sync_interval > interval '366 days' OR verify_interval > interval '366 days' OR lookback > interval '366 days';

ALTER TABLE tenants
    ADD CONSTRAINT tenants_sync_interval_bounded CHECK (sync_interval <= interval '366 days'),
    ADD CONSTRAINT tenants_verify_interval_bounded CHECK (verify_interval <= interval '366 days'),
    ADD CONSTRAINT tenants_lookback_bounded CHECK (lookback <= interval '366 days');
