-- breaking: yes, password hashes written from now on carry a pepper, and the versions before cannot check them

-- Failed logins by name, for names that exist and for names that do not: a lockout tells nobody which is which. The name
-- is kept as a keyed digest, because people type passwords into the wrong field. A row costs whoever makes it one
-- password hash, and hashes are admitted a few a second, so the table stays small.
CREATE TABLE login_failures (
  namespace text NOT NULL,
  name_digest bytea NOT NULL,
  failures integer NOT NULL,
  locked_until timestamptz,
  failed_at timestamptz NOT NULL,
  CONSTRAINT login_failures_pkey PRIMARY KEY (namespace, name_digest)
);
CREATE INDEX login_failures_failed_at_idx ON login_failures (failed_at);

-- A whole namespace, and whoever holds a role.
ALTER TABLE revocations DROP CONSTRAINT revocations_target_known;
ALTER TABLE revocations ADD CONSTRAINT revocations_target_known
  CHECK (target IN ('token', 'family', 'principal', 'role', 'namespace'));
CREATE INDEX token_families_namespace_idx ON token_families (namespace) WHERE revoked_at IS NULL;
