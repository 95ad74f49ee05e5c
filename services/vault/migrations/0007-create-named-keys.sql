-- breaking: no, only new tables

-- The last revision given out to a change of a key. Taking one locks this row until the transaction ends, so that replicas
-- which read on from the last revision they saw miss no change; as for revocations.
CREATE TABLE key_head (
  singleton boolean NOT NULL DEFAULT true,
  revision bigint NOT NULL,
  CONSTRAINT key_head_pkey PRIMARY KEY (singleton),
  CONSTRAINT key_head_one_row CHECK (singleton)
);
INSERT INTO key_head (revision) VALUES (0);

-- Keys of tenants by name. A destroyed one keeps its row, so that its name is not given out again.
CREATE TABLE named_keys (
  namespace text NOT NULL,
  name text NOT NULL,
  key_id text NOT NULL,
  type text NOT NULL
    CONSTRAINT named_keys_type_known CHECK (type IN ('envelope', 'plain-gcm', 'ed25519', 'hmac-sha256')),
  state text NOT NULL
    CONSTRAINT named_keys_state_known CHECK (state IN ('active', 'disabled', 'destroyed')),
  latest_version integer NOT NULL,
  min_decryption_version integer NOT NULL DEFAULT 1,
  -- 0: never by age, never by use.
  rotation_period_ms bigint NOT NULL,
  max_uses bigint NOT NULL,
  expires_at timestamptz,
  deletion_allowed boolean NOT NULL,
  revision bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  rotated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT named_keys_pkey PRIMARY KEY (namespace, name),
  CONSTRAINT named_keys_key_id_key UNIQUE (key_id),
  CONSTRAINT named_keys_revision_key UNIQUE (revision),
  CONSTRAINT named_keys_min_version_in_range
    CHECK (min_decryption_version BETWEEN 1 AND latest_version)
);
CREATE INDEX named_keys_rotation_idx ON named_keys (rotated_at)
  WHERE state = 'active' AND rotation_period_ms > 0;

-- One row per version, so that a key with many versions costs no more to use.
CREATE TABLE key_versions (
  key_id text NOT NULL,
  version integer NOT NULL,
  namespace text NOT NULL,
  -- AES-256-KWP under a key derived from the tenant key for this version; null when destroyed.
  box bytea,
  tenant_key_version integer,
  public_key bytea,
  -- Taken in blocks before they are used: a crash wastes a block and repeats nothing.
  uses_reserved bigint NOT NULL DEFAULT 0,
  last_decrypt_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT key_versions_pkey PRIMARY KEY (key_id, version),
  CONSTRAINT key_versions_destroyed_whole CHECK ((box IS NULL) = (tenant_key_version IS NULL)),
  CONSTRAINT key_versions_key_fkey FOREIGN KEY (key_id) REFERENCES named_keys (key_id),
  -- A tenant key goes only when nothing is under it, and nothing comes under one that has gone.
  CONSTRAINT key_versions_tenant_key_fkey
    FOREIGN KEY (namespace, tenant_key_version) REFERENCES tenant_keys (namespace, version)
);
CREATE INDEX key_versions_tenant_key_idx ON key_versions (namespace, tenant_key_version);
