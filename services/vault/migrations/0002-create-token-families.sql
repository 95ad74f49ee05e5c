-- breaking: no, only new tables

-- One row per login or grant with a refresh token. The family's one live refresh token is its current_digest, so
-- spending it is a compare-and-set on this row. No foreign key: principals are never deleted, and the insert locks
-- its principal's row anyway.
CREATE TABLE token_families (
  family_id text NOT NULL,
  namespace text NOT NULL,
  principal_id text NOT NULL,
  current_digest bytea NOT NULL,
  refresh_expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT token_families_pkey PRIMARY KEY (family_id),
  CONSTRAINT token_families_current_digest_key UNIQUE (current_digest)
);
CREATE INDEX token_families_principal_idx ON token_families (namespace, principal_id)
  WHERE revoked_at IS NULL;
CREATE INDEX token_families_expiry_idx ON token_families (refresh_expires_at);

-- Refresh tokens that were used. Seeing one again is theft of the family. Kept until the token would have ended.
CREATE TABLE spent_refresh_tokens (
  token_digest bytea NOT NULL,
  family_id text NOT NULL,
  namespace text NOT NULL,
  expires_at timestamptz NOT NULL,
  spent_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT spent_refresh_tokens_pkey PRIMARY KEY (token_digest)
);
CREATE INDEX spent_refresh_tokens_expiry_idx ON spent_refresh_tokens (expires_at);
