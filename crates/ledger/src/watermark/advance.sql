-- Moves watermarks forward and records what is covered. A watermark stays when it is no longer at its old value, and never moves
-- back.
-- For each tenant: $1 id, $2 old value, $3 new value, which may be the same, $4 run (or none for all), $5 version of its mapping,
-- what is covered: $6 epoch, $7 xmin (NULL: nothing), $8 clock, $9 since
UPDATE etl_watermark w
SET watermark = m.new, run_id = coalesce(m.run_id, w.run_id),
    advanced_at = CASE WHEN m.new = m.old THEN w.advanced_at ELSE now() END,
    covered_epoch = m.epoch, covered_xmin = m.xmin, covered_clock = m.clock, covered_since = m.since,
    covered_version = m.mapping_version, covered_watermark = m.new
FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[])
         AS m (tenant_id, old, new, run_id, mapping_version, epoch, xmin, clock, since)
WHERE w.tenant_id = m.tenant_id AND w.watermark IS NOT DISTINCT FROM m.old AND (m.old IS NULL OR m.new >= m.old)
RETURNING w.tenant_id
