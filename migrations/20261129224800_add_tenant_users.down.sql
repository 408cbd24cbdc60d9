DELETE FROM console_user WHERE role = 'tenant';
ALTER TABLE console_user DROP CONSTRAINT console_user_one_tenant;
ALTER TABLE console_user DROP CONSTRAINT console_user_role_check;
ALTER TABLE console_user ADD CONSTRAINT console_user_role_check CHECK (role IN ('viewer', 'operator', 'admin'));
