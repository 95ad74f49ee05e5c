-- breaking: no, the first migration

-- Who can hold tokens. A user has a password hash, an agent or a service the keyed digest of a client secret; no
-- credential is stored in clear.
CREATE TABLE principals (
  namespace text NOT NULL,
  principal_id text NOT NULL,
  kind text NOT NULL CONSTRAINT principals_kind_known CHECK (kind IN ('user', 'agent', 'service')),
  scopes text[] NOT NULL,
  disabled boolean NOT NULL DEFAULT false,
  password_hash text,
  secret_digest bytea,
  -- Grows with every new credential, so that a grant checked against the old one is refused.
  credential_version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT principals_pkey PRIMARY KEY (namespace, principal_id),
  CONSTRAINT principals_one_credential CHECK (
    (kind = 'user' AND password_hash IS NOT NULL AND secret_digest IS NULL)
    OR (kind <> 'user' AND password_hash IS NULL AND secret_digest IS NOT NULL)
  )
);
