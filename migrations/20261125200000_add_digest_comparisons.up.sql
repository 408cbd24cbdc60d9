-- When a tenant's plans last compared digests with the source, for those that are told not to do so every time.
ALTER TABLE etl_control
    -- whether the run takes whatever differed by digest when it was planned
    ADD COLUMN compares_digests boolean NOT NULL DEFAULT false;

ALTER TABLE etl_watermark
    -- everything that differed by digest then is in the target; NULL: has to be compared
    ADD COLUMN digests_compared_at timestamptz,
    -- under this version of the mapping
    ADD COLUMN digests_version     bigint;
