-- breaking: no; a new table only.

-- Interest in topics that outlives its agent's session.
CREATE TABLE subscriptions (
  namespace text NOT NULL,
  agent_id text NOT NULL,
  pattern text NOT NULL,
  -- Empty when every subscriber gets each message.
  queue_group text NOT NULL,
  CONSTRAINT subscriptions_pkey PRIMARY KEY (namespace, agent_id, pattern, queue_group)
);
