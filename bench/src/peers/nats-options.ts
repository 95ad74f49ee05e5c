/** What of a NATS connection is ours. NOTE: bench/tsconfig.json skips the check of declaration files, since those of @nats-io/nats-core 3.3 do
 * not hold under exactOptionalPropertyTypes; no declaration of our own names their types. */

/** How a NATS client connects. */
export interface NatsOptions {
  readonly servers: string;
  readonly user?: string;
  readonly pass?: string;
}

/** Reads a connection string: the client itself ignores the user in it. */
export function natsOptions(url: string): NatsOptions {
  const { username, password, host } = new URL(url);
  return {
    servers: host,
    ...(username === "" ? {} : { user: decodeURIComponent(username) }),
    ...(password === "" ? {} : { pass: decodeURIComponent(password) }),
  };
}
