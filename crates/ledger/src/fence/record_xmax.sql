-- Records a source's xmax, and returns what the ledger knows then. Where it is known already nothing is written, so that
-- the chunks of a quiet source do not wait for each other's commits.
-- $1 source, $2 xmax
WITH known AS (
    SELECT epoch, highest_xmax FROM etl_source WHERE name = $1 AND highest_xmax >= $2
), raised AS (
    INSERT INTO etl_source (name, highest_xmax)
    SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (name) DO UPDATE SET highest_xmax = greatest(etl_source.highest_xmax, excluded.highest_xmax)
    RETURNING epoch, highest_xmax
)
SELECT epoch, highest_xmax FROM known UNION ALL SELECT epoch, highest_xmax FROM raised
