-- Serves `run list --type full` and the page of runs: almost all runs are incremental, and a list of the others would read
-- through them.
CREATE INDEX etl_control_rare_type_idx ON etl_control (id DESC) WHERE type <> 'incremental';
