/** Which failures mean that Postgres was out of reach, as opposed to having refused the statement. */

const NODE_CONNECTION_CODES: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);

/** SQLSTATEs of a server that is going down, coming up, full, or a standby after a failover. */
const SERVER_AWAY_STATES: ReadonlySet<string> = new Set([
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "57P05", // idle_session_timeout
  "53300", // too_many_connections
  "25006", // read_only_sql_transaction
]);

/** pg reports a lost or timed-out connection with plain messages and no code. */
const DRIVER_MESSAGES: readonly string[] = [
  "Connection terminated",
  "timeout exceeded when trying to connect",
  "timeout expired",
  "Client has encountered a connection error",
  "Client was closed",
  "Query read timeout",
  "Cannot use a pool after calling end",
];

/** Codes of Node and of OpenSSL for a server that did not prove that it is the right one. */
const UNTRUSTED_CODES =
  /^(?:ERR_(?:TLS|SSL)_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_(?:CA|PURPOSE)$|HOSTNAME_MISMATCH$|UNSPECIFIED$|PATH_LENGTH_|ERROR_IN_C)/;
/** pg has no code for a server that refuses TLS where `sslmode` asks for it. */
const NO_TLS_MESSAGE = "The server does not support SSL connections";
const NO_TLS = "TLS_NOT_SUPPORTED";

/** Says why the server could not be trusted, as a code, e.g. `CERT_HAS_EXPIRED`; undefined when that is not what failed. */
export function distrustOf(error: unknown): string | undefined {
  const code = fieldOf(error, "code", (text) => UNTRUSTED_CODES.test(text));
  if (code !== undefined) return code;
  return causeChain(error).some((link) => textIn(link, "message") === NO_TLS_MESSAGE)
    ? NO_TLS
    : undefined;
}

/** Reads the five-character SQLSTATE of a Postgres error, also through the NexusError that carries it as cause. */
export function sqlStateOf(error: unknown): string | undefined {
  return fieldOf(error, "code", (code) => /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E"));
}

/** Reads the name of the violated constraint, also through the NexusError that carries it as cause. */
export function constraintOf(error: unknown): string | undefined {
  return fieldOf(error, "constraint", (name) => name !== "");
}

/** Says whether the same work may succeed on a new connection: Postgres was unreachable, restarting or out of slots.
 *
 * It does not say that the statement had no effect: a connection lost after COMMIT was sent looks the same. */
export function isRetryableConnectionError(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state !== undefined) return state.startsWith("08") || SERVER_AWAY_STATES.has(state);
  return causeChain(error).some(
    (link) =>
      NODE_CONNECTION_CODES.has(textIn(link, "code")) ||
      DRIVER_MESSAGES.some((text) => textIn(link, "message").startsWith(text)),
  );
}

/** Says whether the server answered with the end of its process, which may come when it has written the commit already. A session that
 * stood idle for too long had none. */
export function endsServer(error: unknown): boolean {
  const ends = fieldOf(error, "severity", (text) => text === "FATAL" || text === "PANIC");
  return ends !== undefined && sqlStateOf(error) !== "25P03";
}

function fieldOf(
  error: unknown,
  field: string,
  accept: (value: string) => boolean,
): string | undefined {
  for (const link of causeChain(error)) {
    const value = link[field];
    if (typeof value === "string" && accept(value)) return value;
  }
  return undefined;
}

function textIn(link: Record<string, unknown>, field: string): string {
  const value = link[field];
  return typeof value === "string" ? value : "";
}

const CAUSE_DEPTH_MAX = 4;

function causeChain(error: unknown): Record<string, unknown>[] {
  const chain: Record<string, unknown>[] = [];
  let link = error;
  while (typeof link === "object" && link !== null && chain.length < CAUSE_DEPTH_MAX) {
    chain.push(link as Record<string, unknown>);
    link = (link as { cause?: unknown }).cause;
  }
  return chain;
}
