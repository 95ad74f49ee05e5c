-- breaking: no, only new tables

-- Keys that sign access tokens. A previous key verifies only: its private part is gone.
CREATE TABLE signing_keys (
  kid text NOT NULL,
  state text NOT NULL
    CONSTRAINT signing_keys_state_known CHECK (state IN ('next', 'current', 'previous')),
  public_jwk jsonb NOT NULL,
  -- AES-256-GCM: ciphertext, 12 bytes IV, 16 bytes tag; the key id is the associated data.
  private_box bytea,
  published_at timestamptz NOT NULL,
  activated_at timestamptz,
  -- The last token of a previous key has ended by then.
  tokens_end_at timestamptz,
  -- The longest life given to any token under this key.
  token_ttl_max_ms bigint NOT NULL,
  CONSTRAINT signing_keys_pkey PRIMARY KEY (kid),
  CONSTRAINT signing_keys_private_matches_state CHECK ((state = 'previous') = (private_box IS NULL)),
  CONSTRAINT signing_keys_end_matches_state CHECK ((state = 'previous') = (tokens_end_at IS NOT NULL))
);
CREATE UNIQUE INDEX signing_keys_one_current_idx ON signing_keys (state) WHERE state = 'current';
CREATE UNIQUE INDEX signing_keys_one_next_idx ON signing_keys (state) WHERE state = 'next';

-- Symmetric keys of vault itself, sealed like the private parts above, by name.
CREATE TABLE sealed_keys (
  name text NOT NULL,
  box bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sealed_keys_pkey PRIMARY KEY (name)
);
