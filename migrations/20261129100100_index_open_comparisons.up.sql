-- serves dispatch: chunks of comparisons that wait for a sync
CREATE INDEX etl_verification_part_unsettled_idx ON etl_verification_part (run_id, seq) WHERE NOT is_settled;
