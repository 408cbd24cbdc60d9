-- Runs that compare and write nothing.
ALTER TYPE etl_run_type ADD VALUE IF NOT EXISTS 'verify';
