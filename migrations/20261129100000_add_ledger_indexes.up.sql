-- Looks at the ledger cost what is open or has ended badly, and not what is done.

-- serves the finalizer's look for complete runs, `status` and the fleet's metrics: chunks that are not done
CREATE INDEX etl_chunk_open_idx ON etl_chunk (run_id)
    WHERE status = 'pending' OR status IN ('queued', 'running');
-- serves `chunk list --status dead`
CREATE INDEX etl_chunk_dead_idx ON etl_chunk (run_id DESC, seq) WHERE status = 'dead';
-- serves `chunk list --troubled`
CREATE INDEX etl_chunk_troubled_idx ON etl_chunk (run_id DESC, seq)
    WHERE failure_count > 0 OR lost_count > 0 OR status = 'dead';
-- serves `run list --status failed` and the like
CREATE INDEX etl_control_ended_badly_idx ON etl_control (id DESC)
    WHERE status IN ('failed', 'partial', 'cancelled');
