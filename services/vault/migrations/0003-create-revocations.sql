-- breaking: no, only new tables

-- The last revision given out. Taking one locks this row until the transaction ends, so revisions become visible in
-- their own order and a watcher that has seen revision n has seen all below it. A sequence would not promise that.
CREATE TABLE revocation_head (
  singleton boolean NOT NULL DEFAULT true,
  revision bigint NOT NULL,
  CONSTRAINT revocation_head_pkey PRIMARY KEY (singleton),
  CONSTRAINT revocation_head_one_row CHECK (singleton)
);
INSERT INTO revocation_head (revision) VALUES (0);

-- Revocations in force: one row per target, moved to a new revision when it is revoked again.
CREATE TABLE revocations (
  target text NOT NULL
    CONSTRAINT revocations_target_known CHECK (target IN ('token', 'family', 'principal')),
  namespace text NOT NULL,
  target_id text NOT NULL,
  revision bigint NOT NULL,
  revoke_time timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT revocations_pkey PRIMARY KEY (target, namespace, target_id),
  CONSTRAINT revocations_revision_key UNIQUE (revision)
);
CREATE INDEX revocations_expiry_idx ON revocations (expires_at);
