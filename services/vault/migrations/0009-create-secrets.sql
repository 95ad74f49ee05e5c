-- breaking: no, only new tables

-- Secrets of tenants by path. The path sorts by bytes, so that what begins with a prefix is one range of the index.
CREATE TABLE secrets (
  namespace text NOT NULL,
  path text COLLATE "C" NOT NULL,
  -- Of this secret and of no later one at the same path: what an old row of it holds does not open for the new one.
  secret_id text NOT NULL,
  latest_version integer NOT NULL,
  max_versions integer NOT NULL
    CONSTRAINT secrets_max_versions_in_range CHECK (max_versions BETWEEN 1 AND 100),
  cas_required boolean NOT NULL DEFAULT false,
  -- 0: for ever.
  version_ttl_ms bigint NOT NULL DEFAULT 0,
  labels jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT secrets_pkey PRIMARY KEY (namespace, path),
  CONSTRAINT secrets_secret_id_key UNIQUE (secret_id)
);

CREATE TABLE secret_versions (
  secret_id text NOT NULL,
  version integer NOT NULL CONSTRAINT secret_versions_version_positive CHECK (version > 0),
  namespace text NOT NULL,
  -- The key of this version: AES-256-KWP under a key derived from the tenant key for this path. Null with the value.
  box bytea,
  tenant_key_version integer,
  -- The value under that key, in an envelope bound to namespace, path, secret and version. Null when destroyed or expired.
  value bytea,
  size_bytes integer NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  deleted_at timestamptz,
  destroyed_at timestamptz,
  CONSTRAINT secret_versions_pkey PRIMARY KEY (secret_id, version),
  CONSTRAINT secret_versions_whole
    CHECK ((box IS NULL) = (value IS NULL) AND (box IS NULL) = (tenant_key_version IS NULL)),
  CONSTRAINT secret_versions_destroyed_empty CHECK (destroyed_at IS NULL OR value IS NULL),
  CONSTRAINT secret_versions_secret_fkey
    FOREIGN KEY (secret_id) REFERENCES secrets (secret_id) ON DELETE CASCADE,
  -- A tenant key goes only when nothing is under it, and nothing comes under one that has gone.
  CONSTRAINT secret_versions_tenant_key_fkey
    FOREIGN KEY (namespace, tenant_key_version) REFERENCES tenant_keys (namespace, version)
);
CREATE INDEX secret_versions_tenant_key_idx ON secret_versions (namespace, tenant_key_version);
CREATE INDEX secret_versions_expires_at_idx ON secret_versions (expires_at) WHERE value IS NOT NULL;

-- Who holds a value until when. A lease that is over is as good as none; cleanup removes its row.
CREATE TABLE secret_leases (
  lease_id text NOT NULL,
  namespace text NOT NULL,
  secret_id text NOT NULL,
  version integer NOT NULL,
  path text COLLATE "C" NOT NULL,
  principal_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  CONSTRAINT secret_leases_pkey PRIMARY KEY (lease_id),
  CONSTRAINT secret_leases_version_fkey FOREIGN KEY (secret_id, version)
    REFERENCES secret_versions (secret_id, version) ON DELETE CASCADE
);
CREATE INDEX secret_leases_version_idx ON secret_leases (secret_id, version);
CREATE INDEX secret_leases_namespace_idx ON secret_leases (namespace, lease_id);
CREATE INDEX secret_leases_path_idx ON secret_leases (namespace, path, lease_id);
CREATE INDEX secret_leases_expires_at_idx ON secret_leases (expires_at);
