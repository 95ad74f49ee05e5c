-- breaking: no; the first tables of the mesh.

-- A replica that lives renews its row; the sessions of one that does not are given up by the others.
CREATE TABLE routers (
  router_id text NOT NULL,
  renewed_at timestamptz NOT NULL,
  CONSTRAINT routers_pkey PRIMARY KEY (router_id)
);

-- One row for every agent that ever connected: the epoch must never repeat, so rows are not deleted.
CREATE TABLE sessions (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  -- Grows by one with every new session of the agent.
  epoch bigint NOT NULL,
  session_id text NOT NULL,
  -- The replica that holds the session.
  router_id text NOT NULL,
  -- SHA-256 of the resume token; the token itself is known to the agent only.
  resume_hash bytea NOT NULL,
  slots integer NOT NULL,
  -- False once the session was closed, lost or superseded.
  live boolean NOT NULL,
  -- Null while the agent has a stream; else when the session is given up.
  expires_at timestamptz,
  opened_at timestamptz NOT NULL,
  CONSTRAINT sessions_pkey PRIMARY KEY (namespace, agent_id),
  CONSTRAINT sessions_epoch_positive CHECK (epoch > 0)
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX sessions_session_id_key ON sessions (session_id);
CREATE INDEX sessions_live_by_router ON sessions (router_id) WHERE live;
