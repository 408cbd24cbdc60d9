-- A row of each tenant for the tables that a sync and a comparison leave empty.
INSERT INTO tenant_login (login, tenant_id, is_made, created_by) SELECT 'login' || id, id, true, 'test' FROM tenants;
INSERT INTO etl_source_audit (source, actor, reason, epoch, known_xmax, seen_xmax) VALUES ('main', 'test', 'test', 2, 9, 1);
INSERT INTO etl_action_audit (actor, action, tenant_id, result) SELECT 'test', 'tenant.pause', id, 'done' FROM tenants;
INSERT INTO etl_bulk (action, filter, actor, item_count, object_count) VALUES ('tenant.pause', '{}', 'test', 1, 1);
INSERT INTO etl_bulk_item (bulk_id, seq, tenant_id) SELECT 1, row_number() OVER (ORDER BY id), id FROM tenants;
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
INSERT INTO console_user (name, password_hash, role) VALUES ('test', 'test', 'viewer');
INSERT INTO console_session (id_hash, user_name) VALUES (sha256('session'), 'test');
INSERT INTO console_token (name, hash, role, created_by) VALUES ('test', sha256('token'), 'viewer', 'test');
INSERT INTO console_request (actor, key, request_hash, status, body)
    VALUES ('console:test', '1', sha256('request'), 200, '{"tenant": 1}');
INSERT INTO tenant_login (login, tenant_id, is_made, created_by) SELECT 'test_' || id, id, false, 'test' FROM tenants;
INSERT INTO conversation_daily
    SELECT r.* FROM tenants t, jsonb_populate_record(NULL::conversation_daily, jsonb_build_object(
        'tenant_id', t.id, 'conversation_date', '2024-01-01',
        'inbox_id', 1, 'assignee_id', 1, 'conversation_count', 1, 'open_count', 1, 'resolved_count', 1,
        'reopened_count', 1, 'awaiting_reply_count', 1, 'bot_count', 1, 'first_response_count', 1,
        'first_response_seconds', 1, 'resolution_count', 1, 'resolution_seconds', 1, 'csat_count', 1,
        'csat_rating_sum', 1, 'csat_positive_count', 1, 'message_count', 1, 'customer_message_count', 1,
        'agent_message_count', 1)) AS r;
