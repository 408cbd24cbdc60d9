-- Due chunks become queued: each tenant gets its next one before any gets a second, live before bulk, while the number
-- queued or running stays within the limits of tenant, source and fleet. The counts are taken from the rows.
-- $1 fleet limit, $2/$3 source names and limits, $4 only these runs (or NULL)
WITH in_flight AS (
    SELECT tenant_id, count(*) AS chunks
    FROM etl_chunk
    WHERE status IN ('queued', 'running')
    GROUP BY tenant_id
), source_room AS (
    SELECT s.name, s.room - coalesce(sum(f.chunks), 0) AS room
    FROM unnest($2::text[], $3::integer[]) AS s (name, room)
    LEFT JOIN tenants t ON t.source = s.name
    LEFT JOIN in_flight f ON f.tenant_id = t.id
    GROUP BY s.name, s.room
), due AS (
    SELECT c.run_id, c.seq, c.lane, t.id AS tenant_id, t.source,
           row_number() OVER (PARTITION BY t.id ORDER BY c.lane, c.run_id, c.seq) AS turn
    FROM (SELECT DISTINCT tenant_id FROM etl_chunk WHERE status = 'pending') waiting
    JOIN tenants t ON t.id = waiting.tenant_id AND t.paused_at IS NULL AND t.deleted_at IS NULL
    LEFT JOIN in_flight f ON f.tenant_id = t.id
    CROSS JOIN LATERAL (
        SELECT p.run_id, p.seq, p.lane
        FROM etl_chunk p
        JOIN etl_control r ON r.id = p.run_id AND r.status = 'running'
        WHERE p.tenant_id = t.id AND p.status = 'pending' AND p.next_attempt_at <= now()
          AND ($4::bigint[] IS NULL OR p.run_id = ANY($4))
        ORDER BY p.lane, p.run_id, p.seq
        LIMIT greatest(0, t.max_in_flight - coalesce(f.chunks, 0))
    ) c
), ranked AS (
    SELECT due.*, row_number() OVER (PARTITION BY source ORDER BY turn, lane, tenant_id) AS source_turn
    FROM due
), picked AS (
    SELECT ranked.run_id, ranked.seq
    FROM ranked
    JOIN source_room ON source_room.name = ranked.source
    WHERE ranked.source_turn <= source_room.room
    ORDER BY ranked.turn, ranked.lane, ranked.tenant_id
    LIMIT greatest(0, $1 - (SELECT coalesce(sum(chunks), 0) FROM in_flight))::bigint
)
UPDATE etl_chunk c
SET status = 'queued', queued_at = now(), published_at = NULL
FROM picked
WHERE c.run_id = picked.run_id AND c.seq = picked.seq AND c.status = 'pending'
RETURNING c.run_id, c.seq, c.tenant_id, c.lane, c.attempt, c.traceparent, c.tracestate
