-- breaking: no, only a new table; the versions before count in login_failures, which nothing reads from now on

-- Failed logins by name and caller's address, and under the address '*' by name alone, for names that exist and for names
-- that do not: a lockout tells nobody which is which. The name is kept as a keyed digest, because people type passwords
-- into the wrong field. Rows cost whoever makes them one password hash, and hashes are admitted a few a second, so the
-- table stays small. Counts are forgotten a day after they began.
CREATE TABLE login_counts (
  namespace text NOT NULL,
  name_digest bytea NOT NULL,
  address text NOT NULL,
  failures integer NOT NULL,
  locked_until timestamptz,
  failed_at timestamptz NOT NULL,
  counted_since timestamptz NOT NULL,
  CONSTRAINT login_counts_pkey PRIMARY KEY (namespace, name_digest, address)
);
CREATE INDEX login_counts_failed_at_idx ON login_counts (failed_at);
