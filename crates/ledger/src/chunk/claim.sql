-- Claims a chunk for one attempt, from queued or from pending when it is due. Claims nothing while the run is not running
-- or the tenant is paused or removed.
-- $1 run, $2 number of the chunk, $3 tenant, $4 worker, $5 seconds of the lease
UPDATE etl_chunk c SET status = 'running', attempt = c.attempt + 1, worker_id = $4,
       lease_until = now() + make_interval(secs => $5), started_at = coalesce(c.started_at, now())
FROM etl_control r, tenants t
WHERE c.run_id = $1 AND c.seq = $2 AND c.tenant_id = $3
  AND r.id = c.run_id AND r.status = 'running'
  AND t.id = c.tenant_id AND t.paused_at IS NULL AND t.deleted_at IS NULL
  AND (c.status = 'queued' OR (c.status = 'pending' AND c.next_attempt_at <= now()))
RETURNING c.tenant_id, c.attempt, c.failure_count, c.lane::text, c.spec, c.key_count, c.traceparent, c.tracestate,
          r.type::text AS run_type, t.source, t.timezone,
          extract(epoch FROM now() - c.queued_at)::float8 AS waited_s,
          coalesce((r.request ->> 'allow_mass_delete')::boolean, false) AS allows_mass_delete
