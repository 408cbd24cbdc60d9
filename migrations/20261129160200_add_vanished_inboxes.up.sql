-- Inboxes that were deleted in Chatwoot while a tenant has them. Their rows may be many: then they wait until an operator
-- decides.
ALTER TABLE inbox_tenant_mapping
    -- since when the source has no such inbox
    ADD COLUMN gone_at timestamptz,
    -- live rows whose conversations are gone with the inbox, and that no chunk marks deleted
    ADD COLUMN waiting_rows bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT inbox_tenant_mapping_waiting CHECK (waiting_rows = 0 OR (waiting_rows > 0 AND gone_at IS NOT NULL));
