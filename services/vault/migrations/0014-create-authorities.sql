-- breaking: no, only a new table

-- Authorities that sign the certificates of services. The newest whose time has come signs; one that no longer signs has no
-- private key, and stays trusted until its last certificate has ended.
CREATE TABLE certificate_authorities (
  ca_id text NOT NULL,
  cert_pem text NOT NULL,
  -- AES-256-GCM: ciphertext, 12 bytes IV, 16 bytes tag; `certificate-authority/<id>` is the associated data.
  key_box bytea,
  box_key_version integer,
  signs_from timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  -- Set when a newer one is made.
  trusted_until timestamptz,
  CONSTRAINT certificate_authorities_pkey PRIMARY KEY (ca_id),
  CONSTRAINT certificate_authorities_key_has_version CHECK ((key_box IS NULL) = (box_key_version IS NULL)),
  CONSTRAINT certificate_authorities_keyless_retires CHECK (key_box IS NOT NULL OR trusted_until IS NOT NULL)
);
