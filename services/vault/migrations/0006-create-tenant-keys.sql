-- breaking: yes, boxes that this version seals anew do not open with the key encryption key of the versions before

-- One random key per tenant and version; everything a tenant stores is under one of them. Each is wrapped twice: by the
-- root key and, where one is configured, for the offline recovery key.
CREATE TABLE tenant_keys (
  namespace text NOT NULL,
  version integer NOT NULL CONSTRAINT tenant_keys_version_positive CHECK (version > 0),
  root_key_id text NOT NULL,
  -- AES-256-KWP under a key derived from the root key for this namespace and version, or what a KMS made of it.
  root_box bytea NOT NULL,
  recovery_key_id text,
  -- HPKE (RFC 9180): encapsulated key, ciphertext, tag.
  recovery_box bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT tenant_keys_pkey PRIMARY KEY (namespace, version),
  CONSTRAINT tenant_keys_recovery_whole CHECK ((recovery_key_id IS NULL) = (recovery_box IS NULL))
);

-- Whether an operator sealed vault. Every replica reads it several times a second.
CREATE TABLE seal_state (
  singleton boolean NOT NULL DEFAULT true,
  sealed boolean NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT seal_state_pkey PRIMARY KEY (singleton),
  CONSTRAINT seal_state_one_row CHECK (singleton)
);
INSERT INTO seal_state (sealed) VALUES (false);

-- The version of vault's own tenant key that a box is under. Null: sealed by an earlier version with
-- NEXUS_VAULT_KEY_ENCRYPTION_KEY; opened with that once more and sealed anew at the next unseal.
ALTER TABLE signing_keys ADD COLUMN box_key_version integer;
ALTER TABLE sealed_keys ADD COLUMN box_key_version integer;
