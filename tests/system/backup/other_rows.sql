-- A row of each tenant for the tables that a sync and a comparison leave empty.
INSERT INTO tenant_login (login, tenant_id, is_made, created_by) SELECT 'login' || id, id, true, 'test' FROM tenants;
INSERT INTO etl_source_audit (source, actor, reason, epoch, known_xmax, seen_xmax) VALUES ('main', 'test', 'test', 2, 9, 1);
INSERT INTO etl_action_audit (actor, action, tenant_id, result) SELECT 'test', 'tenant.pause', id, 'done' FROM tenants;
INSERT INTO etl_webhook (url, events, format, created_by) VALUES ('https://example.com/', '{run.failed}', 'json', 'test');
INSERT INTO etl_webhook_delivery (webhook_id, event, tenant_id, body) SELECT 1, 'run.failed', id, '{}' FROM tenants;
INSERT INTO etl_webhook_condition (webhook_id, event, subject, tenant_id) SELECT 1, 'tenant.late', id::text, id FROM tenants;
INSERT INTO etl_process (instance, role, host, version) VALUES ('test', 'worker', 'test', '1');
INSERT INTO etl_watermark_audit (tenant_id, actor, reason) SELECT id, 'test', 'test' FROM tenants;
INSERT INTO etl_forgotten_contact (tenant_id, contact_id, forgotten_by) SELECT id, 1, 'test' FROM tenants;
INSERT INTO etl_withheld_conversation SELECT id, 900000, 1, 1, 1 FROM tenants;
INSERT INTO etl_rejected_row (tenant_id, conversation_id, run_id, chunk_seq, side, error, resolved_at)
    SELECT id, 900001, 1, 1, 'source', 'test', now() FROM tenants;
INSERT INTO etl_source_watch (source, error, failing_since) VALUES ('other', 'test', now());
INSERT INTO etl_name (tenant_id, kind, id, digest) SELECT id, 'team', 900000, 'test' FROM tenants;
INSERT INTO etl_agreement (tenant_id, mapping_version, conversation_count, digest) SELECT id, 0, 0, 0 FROM tenants
    ON CONFLICT DO NOTHING;
INSERT INTO etl_verification_part
    SELECT r.* FROM etl_control c, jsonb_populate_record(NULL::etl_verification_part, jsonb_build_object(
        'run_id', c.id, 'seq', 9000, 'tenant_id', c.tenant_id, 'noted_at', now(), 'source_epoch', 1, 'source_xmax', 1,
        'source_in_progress', 0, 'source_looked_at', now(), 'is_settled', true, 'fault_count', 0, 'source_rows', 0,
        'target_rows', 0, 'missing', 0, 'extra', 0, 'stale', 0, 'different', 0, 'pending', 0, 'unproven', 0, 'impossible', 0)) AS r
    ON CONFLICT DO NOTHING;
INSERT INTO etl_verification_fault (run_id, seq, conversation_id, tenant_id, kind, columns)
    SELECT id, 9000, 1, tenant_id, 'unproven', '{}' FROM etl_control;
INSERT INTO etl_unsynced_inbox (source, inbox_id, account_id, reason, tenant_id)
    SELECT 'main', 900000 + id, 1, 'unmapped', id FROM tenants;
