-- Which privacy policy a tenant's rows satisfy. While etl_watermark.policy_version is lower than tenants.policy_version, rows
-- may be there that were written under an earlier policy, and the scheduler asks for the backfill that writes them anew.
ALTER TABLE tenants
    -- the mapping_version that the last change of the policy led to; 0: the policy was never changed
    ADD COLUMN policy_version bigint NOT NULL DEFAULT 0;
ALTER TABLE etl_watermark
    -- every row satisfies the policies up to this version of the mapping
    ADD COLUMN policy_version bigint NOT NULL DEFAULT 0;

-- Of tenants that have a policy already, only a policy's backfill that succeeded as the last one shows that their rows
-- satisfy it. The others get one backfill.
UPDATE tenants SET policy_version = mapping_version WHERE privacy <> '{}';
UPDATE etl_watermark w SET policy_version = t.policy_version
FROM tenants t
JOIN LATERAL (SELECT r.status FROM etl_control r
              WHERE r.tenant_id = t.id AND r.type = 'backfill' AND r.request #>> '{selection,kind}' = 'policy'
              ORDER BY r.id DESC LIMIT 1) last ON last.status = 'success'
WHERE t.id = w.tenant_id;

-- Backfills of names that failed or were cancelled, which the scheduler asks for again.
CREATE INDEX etl_control_unfinished_backfill_idx ON etl_control (tenant_id, id)
    WHERE type = 'backfill' AND status IN ('failed', 'cancelled');
