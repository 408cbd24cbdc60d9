-- Records what a chunk found, in place of what it found before.
-- $1 run, $2 number of the chunk, $3 tenant, $4 whether it is settled, $5 listed faults, $6 to $9 version and clock of the
-- source, $10 to $18 the counts
INSERT INTO etl_verification_part (run_id, seq, tenant_id, is_settled, fault_count, source_epoch,
                                  source_xmax, source_in_progress, source_looked_at, source_rows,
                                  target_rows, missing, extra, stale, different, impossible, pending,
                                  unproven)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (run_id, seq) DO UPDATE
SET is_settled = excluded.is_settled, fault_count = excluded.fault_count, missing = excluded.missing,
    extra = excluded.extra, stale = excluded.stale, different = excluded.different,
    impossible = excluded.impossible,
    pending = excluded.pending, unproven = excluded.unproven, source_rows = excluded.source_rows,
    target_rows = excluded.target_rows
