-- Changes a tenant; NULL keeps a value. A shorter interval counts from now. After a change of source no digests were
-- compared.
-- $1 tenant, $2 name, $3 slug, $4 source, $5 account, $6 time zone, $7 chunk size, $8 chunks in flight, $9 seconds between
-- syncs, $10 whether the verify interval changes, $11 seconds between verifications (NULL: none), $12 whether plans map new inboxes
WITH changed AS (
    UPDATE tenants SET name = coalesce($2, name), slug = coalesce($3, slug), source = coalesce($4, source),
           account_id = coalesce($5, account_id), timezone = coalesce($6, timezone),
           chunk_size = coalesce($7, chunk_size), max_in_flight = coalesce($8, max_in_flight),
           sync_interval = coalesce(make_interval(secs => $9), sync_interval),
           verify_interval = CASE WHEN $10 THEN make_interval(secs => $11) ELSE verify_interval END,
           discover = coalesce($12, discover),
           updated_at = now()
    WHERE id = $1 AND deleted_at IS NULL RETURNING id, sync_interval)
UPDATE etl_watermark w SET next_due_at = least(w.next_due_at, now() + c.sync_interval),
       digests_compared_at = CASE WHEN $4 IS NULL THEN w.digests_compared_at END
FROM changed c WHERE w.tenant_id = c.id
