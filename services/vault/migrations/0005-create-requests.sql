-- breaking: no, only new tables

-- Answers of mutations by request id, so that a retry within 24 h changes nothing. Holds no secret: the body is kept
-- as a keyed digest, the answer without credentials.
CREATE TABLE requests (
  namespace text NOT NULL,
  principal_id text NOT NULL,
  request_id text NOT NULL,
  body_digest bytea NOT NULL,
  answer jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT requests_pkey PRIMARY KEY (namespace, principal_id, request_id)
);
CREATE INDEX requests_created_at_idx ON requests (created_at);
