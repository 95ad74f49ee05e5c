-- breaking: no; new tables only.

-- One row for each receiver of durable messages: rows of mail hold its number instead of two names.
CREATE TABLE mailboxes (
  mailbox_id bigint GENERATED ALWAYS AS IDENTITY,
  namespace text NOT NULL,
  agent_id text NOT NULL,
  CONSTRAINT mailboxes_pkey PRIMARY KEY (mailbox_id),
  CONSTRAINT mailboxes_agent_key UNIQUE (namespace, agent_id)
);

CREATE SEQUENCE mail_seq;

-- Messages that wait for their receiver or for its acknowledgement; deleted with it.
CREATE TABLE mail (
  mailbox_id bigint NOT NULL,
  -- Order of commits for every pair of sender and receiver.
  seq bigint NOT NULL DEFAULT nextval('mail_seq'),
  sender text NOT NULL,
  -- The fields of Delivery that never change, encoded.
  envelope bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  ack_wait_ms integer NOT NULL,
  -- Deliveries that failed.
  failures smallint NOT NULL DEFAULT 0,
  -- Not to be sent before; null: at once.
  due_at timestamptz,
  CONSTRAINT mail_pkey PRIMARY KEY (mailbox_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_scale_factor = 0.05);
-- Compressing costs more than it saves: bodies are short, or compressed already.
ALTER TABLE mail ALTER COLUMN envelope SET STORAGE EXTERNAL;
-- Mail of agents that stay away is given up by time.
CREATE INDEX mail_by_expiry ON mail (expires_at);

-- What was stored in the last 24 h, so that the same message is not stored twice. One partition a day.
CREATE TABLE message_ids (
  day date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date,
  -- Of namespace, sender and message id.
  key uuid NOT NULL,
  -- Of receiver, subject and body.
  body_hash bigint NOT NULL,
  CONSTRAINT message_ids_pkey PRIMARY KEY (key, day)
) PARTITION BY RANGE (day);
CREATE TABLE message_ids_default PARTITION OF message_ids DEFAULT;

CREATE SEQUENCE dead_message_seq;

-- Messages that were given up. One partition a day.
CREATE TABLE dead_messages (
  dead_message_id bigint NOT NULL DEFAULT nextval('dead_message_seq'),
  died_at timestamptz NOT NULL DEFAULT now(),
  namespace text NOT NULL,
  mailbox_id bigint NOT NULL,
  agent_id text NOT NULL,
  sender text NOT NULL,
  envelope bytea NOT NULL,
  ack_wait_ms integer NOT NULL,
  failures smallint NOT NULL,
  reason text NOT NULL,
  message text NOT NULL,
  redelivered_at timestamptz,
  -- Hashes of the request that redelivered it: who asked under which id, and for what.
  redeliver_request uuid,
  redeliver_body bigint,
  CONSTRAINT dead_messages_pkey PRIMARY KEY (dead_message_id, died_at)
) PARTITION BY RANGE (died_at);
CREATE INDEX dead_messages_of_namespace ON dead_messages (namespace, dead_message_id);
CREATE INDEX dead_messages_by_request ON dead_messages (redeliver_request) WHERE redeliver_request IS NOT NULL;
CREATE TABLE dead_messages_default PARTITION OF dead_messages DEFAULT;
