-- Users of the console with the role `tenant`: people of one tenant, who see its page and nothing else.
ALTER TABLE console_user DROP CONSTRAINT console_user_role_check;
ALTER TABLE console_user
    ADD CONSTRAINT console_user_role_check CHECK (role IN ('tenant', 'viewer', 'operator', 'admin')),
    ADD CONSTRAINT console_user_one_tenant CHECK (role <> 'tenant' OR coalesce(cardinality(tenants), 0) = 1);
