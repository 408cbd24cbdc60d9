REVOKE SELECT ON SEQUENCE etl_control_id_seq, etl_watermark_audit_id_seq, etl_source_audit_id_seq FROM admin_users;
REVOKE SELECT ON _sqlx_migrations FROM admin_users;
