-- Inserts scheduled runs that are already planned. Leaves out a tenant that has an open run since, and one that has moved
-- since: the plan read its old source.
-- For each run: $1 tenant, $2 type, $3 version of the mapping, $4 and $5 start and end of the watermark, $6 signals,
-- $7 warnings, $8 chunks, $9 whether digests are compared, $10 trace, $11 its parent, $12 what is undecided; $13 the
-- program's version; what the plan covers: $14 epoch, $15 xmin, $16 clock, $17 since
INSERT INTO etl_control (tenant_id, type, status, triggered_by, started_at, mapping_version, watermark_start,
                         watermark_end, signals, warnings, chunks_total, compares_digests, trace_id, traceparent,
                         etl_version, error_message, plan_epoch, plan_xmin, plan_clock, plan_since)
SELECT n.tenant_id, n.type::etl_run_type, 'running', 'scheduler', now(), n.mapping_version, n.watermark_start, n.watermark_end,
       n.signals, n.warnings, n.chunks_total, n.compares_digests, n.trace_id, n.traceparent, $13, n.undecided,
       n.epoch, n.xmin, n.clock, n.since
FROM unnest($1::integer[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::jsonb[],
            $7::jsonb[], $8::integer[], $9::boolean[], $10::text[], $11::text[], $12::text[],
            $14::integer[], $15::bigint[], $16::timestamptz[], $17::timestamptz[])
         AS n (tenant_id, type, mapping_version, watermark_start, watermark_end, signals, warnings, chunks_total,
               compares_digests, trace_id, traceparent, undecided, epoch, xmin, clock, since)
JOIN tenants t ON t.id = n.tenant_id AND t.deleted_at IS NULL AND t.source_version <= n.mapping_version
ORDER BY n.tenant_id
FOR KEY SHARE OF t
ON CONFLICT (tenant_id) WHERE finished_at IS NULL AND type IN ('incremental', 'full') DO NOTHING
RETURNING tenant_id, id
