-- Marks due chunks queued. Each tenant gets one chunk before any tenant gets a second; live chunks come before bulk
-- ones. The number of chunks queued or running stays within the limits of tenant, source and fleet. Bulk chunks also
-- stay within their share of the limits of source and fleet. The current numbers are counted from the rows.
-- $1 fleet limit, $2/$3 source names and limits, $4 bulk share of the fleet limit, $5 bulk shares of the source limits,
-- $6 only these runs (NULL: all)
WITH RECURSIVE pending AS (
    -- whether reading all of them costs less than looking each tenant up
    SELECT count(*) <= 2000 OR (count(*) <= 20000 AND count(DISTINCT tenant_id) > count(*) / 10) AS are_read
    FROM (SELECT tenant_id FROM etl_chunk WHERE status = 'pending' ORDER BY tenant_id LIMIT 20001) p
), waiting AS (
    -- jumps from tenant to tenant in the index, which may have a hundred thousand entries
    (SELECT tenant_id FROM etl_chunk WHERE status = 'pending' AND NOT (SELECT are_read FROM pending)
     ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM etl_chunk p
            WHERE p.status = 'pending' AND p.tenant_id > w.tenant_id ORDER BY p.tenant_id LIMIT 1)
    FROM waiting w
    WHERE w.tenant_id IS NOT NULL
), in_flight AS (
    SELECT tenant_id, count(*) AS chunks, count(*) FILTER (WHERE lane = 'bulk') AS bulk
    FROM etl_chunk
    WHERE status IN ('queued', 'running')
    GROUP BY tenant_id
), source_room AS (
    SELECT s.name, s.room - coalesce(sum(f.chunks), 0) AS room, s.bulk_room - coalesce(sum(f.bulk), 0) AS bulk_room
    FROM unnest($2::text[], $3::integer[], $5::integer[]) AS s (name, room, bulk_room)
    LEFT JOIN (in_flight f JOIN tenants t ON t.id = f.tenant_id) ON t.source = s.name
    GROUP BY s.name, s.room, s.bulk_room
), tenant_room AS NOT MATERIALIZED (
    -- no tenant gets more than the free room, which is mostly one chunk
    SELECT t.id AS tenant_id, t.source,
           greatest(0, least(t.max_in_flight - coalesce(f.chunks, 0), source_room.room,
                             $1 - (SELECT coalesce(sum(chunks), 0) FROM in_flight)))::bigint AS room
    FROM tenants t
    JOIN source_room ON source_room.name = t.source
    LEFT JOIN in_flight f ON f.tenant_id = t.id
    WHERE t.paused_at IS NULL AND t.deleted_at IS NULL
), due AS (
    SELECT c.run_id, c.seq, c.lane, t.tenant_id, t.source,
           row_number() OVER (PARTITION BY t.tenant_id ORDER BY c.lane, c.run_id, c.seq) AS turn
    FROM waiting
    JOIN tenant_room t ON t.tenant_id = waiting.tenant_id
    CROSS JOIN LATERAL (
        SELECT p.run_id, p.seq, p.lane
        FROM etl_chunk p
        JOIN etl_control r ON r.id = p.run_id AND r.status = 'running'
        WHERE p.tenant_id = t.tenant_id AND p.status = 'pending' AND p.next_attempt_at <= now()
          AND ($6::bigint[] IS NULL OR p.run_id = ANY($6))
        ORDER BY p.lane, p.run_id, p.seq
        LIMIT t.room
    ) c
    UNION ALL
    -- reads the index once, whatever the number of tenants
    SELECT c.run_id, c.seq, c.lane, c.tenant_id, t.source, c.turn
    FROM (
        SELECT p.run_id, p.seq, p.lane, p.tenant_id,
               row_number() OVER (PARTITION BY p.tenant_id ORDER BY p.lane, p.run_id, p.seq) AS turn
        FROM etl_chunk p
        JOIN etl_control r ON r.id = p.run_id AND r.status = 'running' AND r.finished_at IS NULL
        WHERE (SELECT are_read FROM pending) AND p.status = 'pending' AND p.next_attempt_at <= now()
          AND ($6::bigint[] IS NULL OR p.run_id = ANY($6))
    ) c
    JOIN tenant_room t ON t.tenant_id = c.tenant_id AND c.turn <= t.room
), source_share AS (
    -- removes bulk chunks beyond their share first, so that they take no turn of the others
    SELECT l.*, row_number() OVER (PARTITION BY l.source ORDER BY l.turn, l.lane, l.tenant_id) AS source_turn
    FROM (SELECT due.*, row_number() OVER (PARTITION BY source, lane ORDER BY turn, tenant_id) AS lane_turn FROM due) l
    JOIN source_room ON source_room.name = l.source
    WHERE l.lane = 'live' OR l.lane_turn <= source_room.bulk_room
), fleet_share AS (
    SELECT s.run_id, s.seq, s.lane, s.tenant_id, s.turn,
           row_number() OVER (PARTITION BY s.lane ORDER BY s.turn, s.tenant_id) AS fleet_turn
    FROM source_share s
    JOIN source_room ON source_room.name = s.source
    WHERE s.source_turn <= source_room.room
), picked AS (
    SELECT run_id, seq
    FROM fleet_share
    WHERE lane = 'live' OR fleet_turn <= $4 - (SELECT coalesce(sum(bulk), 0) FROM in_flight)
    ORDER BY turn, lane, tenant_id
    LIMIT greatest(0, $1 - (SELECT coalesce(sum(chunks), 0) FROM in_flight))::bigint
), locked AS (
    -- another transaction that has locked a chunk (a cancel, a claim) is about to change it
    SELECT c.run_id, c.seq
    FROM etl_chunk c
    JOIN picked ON c.run_id = picked.run_id AND c.seq = picked.seq
    WHERE c.status = 'pending'
    ORDER BY c.run_id, c.seq
    FOR NO KEY UPDATE OF c SKIP LOCKED
)
UPDATE etl_chunk c
SET status = 'queued', queued_at = now(), published_at = NULL
FROM locked
JOIN etl_control r ON r.id = locked.run_id
WHERE c.run_id = locked.run_id AND c.seq = locked.seq AND c.status = 'pending'
RETURNING c.run_id, c.seq, c.tenant_id, c.lane::text, c.attempt, c.traceparent, c.tracestate, r.traceparent AS run_traceparent
