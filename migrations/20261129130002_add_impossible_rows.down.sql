DELETE FROM etl_verification_fault WHERE kind = 'impossible';
ALTER TABLE etl_verification_fault
    DROP CONSTRAINT etl_verification_fault_kind,
    ADD CONSTRAINT etl_verification_fault_kind
        CHECK (kind IN ('missing', 'extra', 'stale', 'different', 'unproven'));
ALTER TABLE etl_verification_part DROP COLUMN impossible;
ALTER TABLE etl_verification DROP COLUMN impossible;
