-- Which of a tenant's columns with personal data are hashed or not stored; what is not named is kept. A change raises
-- mapping_version, so that rows made under the old policy are not written any more.
ALTER TABLE tenants
    ADD COLUMN privacy jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tenants_privacy_known CHECK (
        jsonb_typeof(privacy) = 'object'
        AND privacy - ARRAY['contact_name', 'contact_email', 'contact_phone', 'contact_identifier', 'client_phone',
                            'message_text', 'csat_feedback'] = '{}'
        AND jsonb_path_query_array(privacy, '$.*') <@ '["hash", "null"]'
    );
