-- Users of the web console, their sessions, and the tokens of its API. Nothing here is a tenant's row. Passwords are
-- stored as argon2 hashes; of sessions and tokens only the SHA-256 of the random value that the holder has.
CREATE TABLE console_user (
    name          text        NOT NULL,
    -- NULL: the user cannot sign in by password, and a proxy names it
    password_hash text,
    role          text        NOT NULL,
    -- NULL: every tenant
    tenants       integer[],
    -- may look at values of rows in the page that explains a conversation
    sees_values   boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT console_user_pkey PRIMARY KEY (name),
    CONSTRAINT console_user_name_check CHECK (name ~ '^[[:alnum:]._@+-]{1,100}$'),
    CONSTRAINT console_user_role_check CHECK (role IN ('viewer', 'operator', 'admin'))
);

-- Sessions end by themselves: 12 hours after the last request, and 7 days after the sign-in.
CREATE TABLE console_session (
    id_hash      bytea       NOT NULL,
    user_name    text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    peer         text,
    agent        text,
    CONSTRAINT console_session_pkey PRIMARY KEY (id_hash),
    CONSTRAINT console_session_user_fkey FOREIGN KEY (user_name) REFERENCES console_user (name) ON DELETE CASCADE,
    CONSTRAINT console_session_id_hash_check CHECK (length(id_hash) = 32)
);
-- lists and ends the sessions of a user
CREATE INDEX console_session_user_idx ON console_session (user_name);

CREATE TABLE console_token (
    name         text        NOT NULL,
    hash         bytea       NOT NULL,
    role         text        NOT NULL,
    tenants      integer[],
    created_by   text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- NULL: until it is removed
    expires_at   timestamptz,
    last_used_at timestamptz,
    CONSTRAINT console_token_pkey PRIMARY KEY (name),
    CONSTRAINT console_token_hash_key UNIQUE (hash),
    CONSTRAINT console_token_name_check CHECK (name ~ '^[[:alnum:]._@+-]{1,100}$'),
    CONSTRAINT console_token_role_check CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT console_token_hash_check CHECK (length(hash) = 32)
);

-- Answers of the API to changes with an Idempotency-Key, so that a repeated request changes nothing. Kept for a day.
CREATE TABLE console_request (
    actor        text        NOT NULL,
    key          text        NOT NULL,
    -- SHA-256 of method, path and body
    request_hash bytea       NOT NULL,
    -- NULL: the first request has not ended
    status       integer,
    body         jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT console_request_pkey PRIMARY KEY (actor, key)
);
-- removes answers that are older than a day
CREATE INDEX console_request_created_at_idx ON console_request (created_at);

-- the processes of the fleet have no business here; a dump has everything
GRANT SELECT, INSERT, UPDATE, DELETE ON console_user, console_session, console_token, console_request TO console_service;
GRANT SELECT ON console_user, console_session, console_token, console_request TO admin_users;
