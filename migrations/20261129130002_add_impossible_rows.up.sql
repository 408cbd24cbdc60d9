-- A further kind of fault that comparisons find: rows of a version that their source cannot have had.
ALTER TABLE etl_verification
    ADD COLUMN impossible bigint NOT NULL DEFAULT 0;
ALTER TABLE etl_verification_part
    ADD COLUMN impossible bigint NOT NULL DEFAULT 0;
ALTER TABLE etl_verification_fault
    DROP CONSTRAINT etl_verification_fault_kind,
    ADD CONSTRAINT etl_verification_fault_kind
        CHECK (kind IN ('missing', 'extra', 'stale', 'different', 'impossible', 'unproven'));
