-- breaking: no, only new tables and columns with defaults

-- Named sets of scopes.
CREATE TABLE roles (
  namespace text NOT NULL,
  name text NOT NULL,
  description text NOT NULL,
  scopes text[] NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT roles_pkey PRIMARY KEY (namespace, name)
);

-- Rules and who they are for. The last three columns follow from the statements: what speaks of no resource is in force
-- in every service through the token, and so is the bare fact that something is held on some resources.
CREATE TABLE policies (
  namespace text NOT NULL,
  name text NOT NULL,
  description text NOT NULL,
  statements jsonb NOT NULL,
  everyone boolean NOT NULL,
  roles text[] NOT NULL,
  principal_ids text[] NOT NULL,
  allowed_scopes text[] NOT NULL,
  limited_scopes text[] NOT NULL,
  denied_scopes text[] NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policies_pkey PRIMARY KEY (namespace, name)
);

-- What roles and policies make of a principal, on its own row: a token is issued under a lock on that row, so it is dated
-- after a change, or the change waits for it and its revocation covers it.
ALTER TABLE principals ADD COLUMN roles text[] NOT NULL DEFAULT '{}';
ALTER TABLE principals ADD COLUMN granted_scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE principals ADD COLUMN limited_scopes text[] NOT NULL DEFAULT '{}';
ALTER TABLE principals ADD COLUMN denied_scopes text[] NOT NULL DEFAULT '{}';
CREATE INDEX principals_roles_idx ON principals USING gin (roles);

-- The last revision given out to a change of policies; as for revocations and keys, taking one locks the row.
CREATE TABLE access_head (
  singleton boolean NOT NULL DEFAULT true,
  revision bigint NOT NULL,
  CONSTRAINT access_head_pkey PRIMARY KEY (singleton),
  CONSTRAINT access_head_one_row CHECK (singleton)
);
INSERT INTO access_head (revision) VALUES (0);

-- When the policies of a namespace changed last: a replica that has seen less reads all of them anew.
CREATE TABLE access_changes (
  namespace text NOT NULL,
  revision bigint NOT NULL,
  CONSTRAINT access_changes_pkey PRIMARY KEY (namespace),
  CONSTRAINT access_changes_revision_key UNIQUE (revision)
);
