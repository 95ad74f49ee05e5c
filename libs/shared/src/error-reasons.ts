import type { ErrorKind } from "./error-kinds.ts";

/** What one stable reason means to a caller. */
export interface ErrorReason {
  readonly kind: ErrorKind;
  /** One line for docs/errors.md, in the present tense. */
  readonly meaning: string;
}

function reason(kind: ErrorKind, meaning: string): ErrorReason {
  return { kind, meaning };
}

/** Every stable reason of the project, by part. Append-only: a reason may gain a better meaning, but never
 * another name or kind, because callers branch on it. docs/errors.md is generated from this table. */
export const ERROR_REASONS = {
  // Everywhere
  INTERNAL: reason("internal", "An unexpected error; the log of the service has its cause."),
  REQUEST_INVALID: reason("invalid", "One or more request fields break a rule of the contract."),
  ID_INVALID: reason("invalid", "An identifier is empty, too long or has a forbidden character."),
  SCOPE_INVALID: reason("invalid", "A scope is not of the form domain:resource:verb."),
  RESOURCE_INVALID: reason("invalid", "A resource or a pattern of resources is not in its form."),
  PAGE_TOKEN_INVALID: reason("invalid", "The page token is damaged or belongs to another list."),
  REQUEST_ID_REUSED: reason("conflict", "The request id was used before with another body."),
  CANCELLED: reason("cancelled", "The caller cancelled the call or left."),
  DEADLINE_EXCEEDED: reason("deadline", "The deadline of the call passed before its answer."),
  QUEUE_FULL: reason("exhausted", "A bounded queue inside the service is full; try again later."),
  CLOSED: reason("unavailable", "The component is closed or closing and takes no new work."),
  SLOW_CONSUMER: reason("exhausted", "A watcher read too slowly and its buffer is full."),
  RESUME_GAP: reason("out_of_range", "The resume token is too old; read the state anew."),

  // Configuration and start
  CONFIG_INVALID: reason("invalid", "The configuration has problems; each is named."),
  NOT_READY: reason("unavailable", "The service is starting and not ready for calls yet."),
  NO_SERVICE_IDENTITY: reason("precondition", "The service has no identity to call others with."),

  // Calls between processes (rpc)
  UNAVAILABLE: reason("unavailable", "The service cannot be reached at the moment."),
  SERVER_DRAINING: reason("unavailable", "The server is shutting down; connect to another one."),
  METHOD_NOT_FOUND: reason("unimplemented", "The server does not have this method."),
  MESSAGE_TOO_LARGE: reason("exhausted", "A message is larger than the limit."),
  PROTOCOL_ERROR: reason("internal", "The peer broke the protocol of the call."),
  REQUEST_MALFORMED: reason("invalid", "The bytes of a request are no message of its type."),
  CONNECTION_AGED: reason("unavailable", "The connection reached its age limit; call again."),
  CA_FILE_UNREADABLE: reason("invalid", "The file with the CA certificates cannot be read."),
  CERTIFICATE_UNSOUND: reason("internal", "The certificate that was issued cannot be used."),
  CERTIFICATE_NAME_FORBIDDEN: reason(
    "forbidden",
    "The request for a certificate asks for a name that is not the caller's.",
  ),
  CA_ROTATION_PENDING: reason(
    "precondition",
    "The next authority was made and waits until every service trusts it.",
  ),
  CERTIFICATE_REQUEST_INVALID: reason(
    "invalid",
    "It is no PKCS #10 request, signed by its own P-256 key, for URIs, DNS names and addresses.",
  ),
  PEER_UNKNOWN: reason(
    "unauthenticated",
    "The port takes calls of NEXUS services, and the connection brought no certificate of one.",
  ),
  CALLER_NOT_ALLOWED: reason(
    "forbidden",
    "The contract does not let the service that the certificate names call the method.",
  ),
  PRINCIPAL_MISMATCH: reason("forbidden", "The new token of a stream is another principal's."),
  REAUTH_UNSUPPORTED: reason("precondition", "The method takes no token that could be replaced."),
  HEALTH_SERVICE_UNKNOWN: reason("not_found", "The health service knows no such service name."),

  // Statuses of servers and proxies that are not ours and give no reason
  INVALID: reason("invalid", "The server refused the request and gave no reason."),
  UNAUTHENTICATED: reason("unauthenticated", "The server knows no caller and gave no reason."),
  FORBIDDEN: reason("forbidden", "The server did not allow the call and gave no reason."),
  NOT_FOUND: reason("not_found", "The server did not find it and gave no reason."),
  EXISTS: reason("exists", "It exists already; the server gave no reason."),
  PRECONDITION: reason("precondition", "A precondition is not met; the server gave no reason."),
  CONFLICT: reason("conflict", "A concurrent change won; the server gave no reason."),
  OUT_OF_RANGE: reason("out_of_range", "It is past the end; the server gave no reason."),
  EXHAUSTED: reason("exhausted", "A limit is reached; the server gave no reason."),
  DATA_LOSS: reason("data_loss", "Data is damaged; the server gave no reason."),

  // Identity (every service)
  TOKEN_MISSING: reason("unauthenticated", "The call carries no bearer token."),
  TOKEN_INVALID: reason("unauthenticated", "The token is malformed, forged or for someone else."),
  TOKEN_EXPIRED: reason("unauthenticated", "The token has ended; refresh it or sign in again."),
  TOKEN_REVOKED: reason("unauthenticated", "The token, its family or its principal was revoked."),
  SCOPE_MISSING: reason("forbidden", "The token lacks the scope that the method requires."),
  ACCESS_DENIED: reason("forbidden", "A policy refuses this, or none allows it on this resource."),
  NAMESPACE_MISMATCH: reason("forbidden", "The token belongs to another namespace."),
  IDENTITY_UNAVAILABLE: reason("unavailable", "Keys to verify tokens were never fetched yet."),

  // Storage (postgres)
  DATABASE_UNAVAILABLE: reason("unavailable", "The database cannot be reached at the moment."),
  DATABASE_UNTRUSTED: reason(
    "unavailable",
    "The database speaks no TLS where `sslmode` asks for it, or its certificate does not verify; the message has the code.",
  ),
  DATABASE_HISTORY_CHANGED: reason(
    "unavailable",
    "A standby of the database took over, or a backup was played back; the service ends and begins anew.",
  ),
  DATABASE_TIMEOUT: reason("deadline", "The database did not answer within the statement timeout."),
  SERIALIZATION_FAILURE: reason("conflict", "Concurrent changes clashed even after retries."),
  ALREADY_EXISTS: reason("exists", "A unique key of the new row is taken."),
  REFERENCE_MISSING: reason("precondition", "The row refers to another one that does not exist."),
  MIGRATION_MISMATCH: reason("precondition", "An applied migration differs from its file."),
  MIGRATION_FAILED: reason("precondition", "A migration failed and was rolled back."),
  MIGRATION_FILES_INVALID: reason("precondition", "The migration files break the naming rules."),
  LOCK_NOT_AVAILABLE: reason("conflict", "A concurrent change holds the lock; retry."),
  COMMIT_OUTCOME_UNKNOWN: reason("unavailable", "The connection broke during COMMIT; retry."),
  TRANSACTION_ABORTED: reason("internal", "A statement had failed, so the commit stored nothing."),
  TEXT_NOT_STORABLE: reason("invalid", "Text holds a character that cannot be stored, like NUL."),
  DATABASE_ERROR: reason("internal", "The database refused a statement; the log has the cause."),

  // vault
  CREDENTIALS_INVALID: reason(
    "unauthenticated",
    "Name, password, client secret or refresh token is wrong, or its principal is disabled.",
  ),
  LOGIN_BUSY: reason("exhausted", "Too many password checks are waiting; retry after the delay."),
  REFRESH_REUSED: reason(
    "unauthenticated",
    "The refresh token was used before: its whole family is revoked now.",
  ),
  PRINCIPAL_NOT_FOUND: reason("not_found", "No principal of the namespace has this id."),
  PRINCIPAL_EXISTS: reason("exists", "The principal id is taken."),
  NAMESPACE_FORBIDDEN: reason("forbidden", "The caller may not act in the namespace it names."),
  PRINCIPAL_IS_CALLER: reason("precondition", "A principal cannot do this to itself."),
  PRINCIPAL_NOT_AGENT: reason("precondition", "Only an agent has a client secret to rotate."),
  PRINCIPAL_NOT_USER: reason("precondition", "Only a user has a password."),
  PASSWORD_WRONG: reason("forbidden", "The old password is wrong, or the name is locked for now."),
  ROLE_NOT_FOUND: reason("not_found", "The namespace has no such role."),
  ROLE_IN_USE: reason("precondition", "A principal has the role, or a policy is for it."),
  POLICY_NOT_FOUND: reason("not_found", "The namespace has no such policy."),
  ACCESS_LIMIT: reason("exhausted", "The namespace has as many roles or policies as it may."),
  ACCESS_TOO_LARGE: reason("precondition", "A principal's token would carry too many scopes."),
  SCOPE_ESCALATION: reason("forbidden", "A scope is beyond what the caller's own token holds."),
  SECRET_ALREADY_RETURNED: reason(
    "exists",
    "The first call returned the secret, which is shown only once; rotate it to get another.",
  ),
  KEY_TOO_YOUNG: reason(
    "precondition",
    "The next signing key was published too recently; retry after the delay.",
  ),
  SEALED_KEY_UNREADABLE: reason(
    "data_loss",
    "A stored key does not open: the root key is another one, or the row was changed.",
  ),
  VAULT_SEALED: reason(
    "precondition",
    "Vault has no root key in memory; somebody has to unseal it.",
  ),
  ROOT_KEY_WRONG: reason(
    "forbidden",
    "The root key that was brought does not open what is stored.",
  ),
  ROOT_KEY_MISSING: reason("precondition", "No root key is configured; bring one with Unseal."),
  ROOT_KEY_UNREACHABLE: reason("unavailable", "The KMS that holds the root key does not answer."),
  ROOT_KEY_UNSAFE: reason(
    "precondition",
    "A key file lets others read or replace it, or is no key.",
  ),
  OPERATOR_SOCKET_UNSAFE: reason(
    "precondition",
    "Others may enter the folder of vault's operator socket, or it cannot be made; the message says which.",
  ),
  PEPPER_VERSION_SKIPPED: reason(
    "precondition",
    "The version of the pepper before the configured one was never in use.",
  ),
  KEY_NOT_FOUND: reason("not_found", "No key of the namespace has this name."),
  KEY_EXISTS: reason("exists", "The key's name is taken; a destroyed key keeps it for 30 days."),
  KEY_LIMIT: reason("exhausted", "The namespace holds as many keys as it may."),
  KEY_VERSION_LIMIT: reason("exhausted", "The key has as many versions as it may."),
  KEY_DISABLED: reason("precondition", "The key is disabled."),
  KEY_DESTROYED: reason("precondition", "The key's material is destroyed; nothing brings it back."),
  KEY_EXPIRED: reason("precondition", "The key has expired: it only decrypts and verifies."),
  KEY_TYPE_WRONG: reason("precondition", "The key is for something else, such as signing."),
  KEY_VERSION_NOT_FOUND: reason("not_found", "The key has no such version."),
  KEY_VERSION_TOO_OLD: reason("precondition", "The version is below the minimum that decrypts."),
  KEY_VERSION_IN_USE: reason(
    "precondition",
    "A version that would be refused was used to decrypt within the last 24 h.",
  ),
  AUDIT_UNAVAILABLE: reason(
    "unavailable",
    "The call's entry in the audit log cannot be written, so nothing of it was answered.",
  ),
  ALERT_NOT_FOUND: reason("not_found", "There is no such alert, or not for this caller."),
  ALERT_WATCHES_FULL: reason("exhausted", "As many watch alerts as may at a time."),
  AUDIT_EMPTY: reason("precondition", "The audit log has no checkpoint yet."),
  AUDIT_RANGE_INVALID: reason("invalid", "The audit log has no such leaf or size."),
  AUDIT_ENTRY_INVALID: reason("invalid", "A service told an entry that it may not make."),
  AUDIT_LOG_TAMPERED: reason(
    "data_loss",
    "The stored audit log is not the one that was signed; it gets no further checkpoint.",
  ),
  KEY_EXHAUSTED: reason("exhausted", "The version was used as often as is safe; retry shortly."),
  KEY_DELETION_FORBIDDEN: reason("precondition", "The key does not allow to be destroyed."),
  KEY_CHANGED: reason("conflict", "Somebody changed the key at the same moment; try again."),
  SECRET_FORBIDDEN: reason("forbidden", "The caller's scopes do not reach the path of the secret."),
  SECRET_NOT_FOUND: reason("not_found", "The namespace has no secret at this path."),
  SECRET_VERSION_NOT_FOUND: reason("not_found", "The secret does not have, or keep, the version."),
  SECRET_DELETED: reason("precondition", "The version is deleted; it can be undeleted."),
  SECRET_EXPIRED: reason("precondition", "The version's time is over."),
  SECRET_DESTROYED: reason("precondition", "The version's value is destroyed for ever."),
  SECRET_VERSION_MISMATCH: reason("conflict", "The newest version is another than the expected."),
  SECRET_CAS_REQUIRED: reason(
    "precondition",
    "The secret takes puts with an expected version only.",
  ),
  SECRET_LIMIT: reason("exhausted", "The namespace holds as many secrets as it may."),
  SECRET_TASK_REQUIRED: reason("forbidden", "Agents read the secret in the name of a task only."),
  LEASE_UNVERIFIED: reason("unavailable", "The orchestrator cannot be asked who holds the task."),
  SECRET_LEASE_NOT_FOUND: reason("not_found", "The caller's lease is over, revoked, or never was."),
  SECRET_LEASE_LIMIT: reason("exhausted", "The secret has as many leases as it may."),
  DECRYPTION_FAILED: reason(
    "invalid",
    "The ciphertext does not open with this key and context: another one, or changed.",
  ),
  BODY_TOO_LARGE: reason("invalid", "The body of a stream is larger than the limit."),
  VAULT_NOT_INITIALISED: reason(
    "precondition",
    "Nothing is stored yet; the first root key comes from the configuration.",
  ),

  // registry
  AGENT_NOT_FOUND: reason("not_found", "No agent of the namespace has this id."),
  CAPABILITY_DUPLICATE: reason("invalid", "A capability's name and version appear twice."),
  REVISION_CONFLICT: reason("conflict", "The record changed since that revision; read it anew."),
  VERSION_RANGE_INVALID: reason("invalid", "The version range is not a semver range."),
  TIME_RANGE_INVALID: reason("invalid", "A range of time ends before it begins."),
  LABEL_CONSTRAINT_INVALID: reason("invalid", "A label constraint makes no sense."),
  SERVICE_ONLY: reason("forbidden", "Only a service principal may do this."),
  WATCHER_TOO_SLOW: reason("exhausted", "The watcher fell too far behind; resume the watch."),
  AGENT_LIMIT: reason("exhausted", "The namespace holds as many agents as it may."),
  AGENT_TOO_LARGE: reason("invalid", "The agent's record is larger than the limit."),

  // orchestrator
  JOB_NOT_FOUND: reason("not_found", "No job of the namespace has this id."),
  JOB_NOT_ENDED: reason("precondition", "The job has not ended; only an ended one runs again."),
  NOTHING_TO_RETRY: reason("precondition", "Every task of the job succeeded; replay it instead."),
  TASK_NOT_FOUND: reason("not_found", "The job has no such task."),
  DEAD_LETTER_NOT_FOUND: reason("not_found", "No such task of the namespace failed for good."),
  TASK_KEY_DUPLICATE: reason("invalid", "Two tasks of the job have the same key."),
  DEPENDENCY_UNKNOWN: reason("invalid", "A dependency names no task of the job."),
  INPUT_NAME_DUPLICATE: reason("invalid", "Two dependencies of a task fill the same input."),
  GRAPH_CYCLE: reason("invalid", "Tasks of the job wait for each other in a circle."),
  GRAPH_TOO_DEEP: reason("invalid", "The longest chain of tasks is longer than the limit."),
  GRAPH_TOO_WIDE: reason("invalid", "More tasks depend on one task than the limit allows."),
  MAP_INVALID: reason("invalid", "A task is mapped over what it cannot be; the message says why."),
  OBJECTIVE_MISSING: reason("invalid", "A job needs tasks, or an objective to plan them from."),
  INPUT_NOT_ALLOWED: reason("invalid", "A job with tasks takes no input: each task has its own."),
  PLAN_INPUT_TOO_LARGE: reason("invalid", "Objective and input do not fit into a planner's input."),
  PAYLOAD_NOT_FOUND: reason("not_found", "No body of this SHA-256 and size is stored."),
  PAYLOAD_MISMATCH: reason("invalid", "A body is not what its upload announced."),
  PAYLOAD_AMBIGUOUS: reason("invalid", "A payload has a body and a reference to one."),
  PAYLOAD_QUOTA: reason("exhausted", "The namespace stores as many bytes of bodies as it may."),
  PAYLOAD_STREAMS_BUSY: reason("exhausted", "As many bodies are under way as may be; try again."),
  UPLOAD_EXPIRED: reason("conflict", "An upload took so long that it was removed; begin anew."),
  LEASE_LOST: reason("conflict", "The lease is over; somebody else has or had the task."),
  NOT_OWNER: reason(
    "unavailable",
    "No replica owns the job at the moment, or this one lost it; call again.",
  ),

  // mesh-router
  FRAME_INVALID: reason("invalid", "A stream's frame breaks a rule; the message says which."),
  AGENT_ID_MISMATCH: reason("forbidden", "An agent's token speaks for its own id only."),
  SESSION_SUPERSEDED: reason("conflict", "A newer stream of the same agent took over."),
  SESSION_TOO_SLOW: reason("exhausted", "The agent does not read what it granted credit for."),
  SESSION_LIMIT: reason("exhausted", "The replica holds as many sessions as it may."),
  SESSION_LOST: reason("deadline", "No frame came from the agent for longer than lost_after."),
  DISPATCH_TOO_SLOW: reason("exhausted", "The orchestrator does not read fast enough."),
  DISPATCH_LIMIT: reason("exhausted", "The replica holds as many dispatch streams as it may."),
  DEAD_MESSAGE_NOT_FOUND: reason("not_found", "No such message of the namespace is dead."),
  STATE_BUCKET_NOT_FOUND: reason("not_found", "The namespace has no bucket of this name."),
  STATE_BUCKET_EXISTS: reason("exists", "The namespace has a bucket of this name already."),
  STATE_NAMESPACE_QUOTA: reason(
    "exhausted",
    "The quotas of all buckets of the namespace would be more than it may have.",
  ),
  STATE_KEY_NOT_FOUND: reason("not_found", "The key has no value, or it was deleted, or expired."),
  STATE_KEYS_QUOTA: reason("exhausted", "The bucket has as many keys as it may."),
  STATE_BYTES_QUOTA: reason("exhausted", "The bucket would hold more bytes than it may."),
  STATE_VALUE_REFERENCE: reason("invalid", "A bucket keeps values itself, not references."),
  STATE_VALUE_TOO_LARGE: reason("exhausted", "The value is larger than one of the bucket may be."),
  STATE_CALL_TOO_LARGE: reason(
    "exhausted",
    "The keys of one call hold too many bytes of versions.",
  ),
  STATE_OP_NO_ROOM: reason(
    "unavailable",
    "The session has no room for the operation or its answer; make the call by itself.",
  ),
  STATE_WATCHER_LIMIT: reason("exhausted", "The bucket or the namespace is watched too often."),
  STATE_SIBLING_LIMIT: reason("exhausted", "The key has too many versions; resolve it first."),
  STATE_POLICY_MISMATCH: reason("precondition", "The bucket's policy does not know the operation."),
  STATE_REVISION_REQUIRED: reason("precondition", "A CAS bucket needs the expected revision."),
  STATE_REVISION_MISMATCH: reason("conflict", "The key's revision is another; read it again."),
  STATE_CONTEXT_REQUIRED: reason("precondition", "To delete needs the context that was read."),
  STATE_CONTEXT_INVALID: reason("invalid", "The context is damaged, or another key's."),
  STATE_VERSION_GONE: reason("conflict", "A version to resolve is gone; read the key again."),
  STATE_TIME_INVALID: reason("out_of_range", "The writer's time is too far ahead, or too old."),
  STATE_COUNTER_RANGE: reason("out_of_range", "The counter would not fit into 64 bits."),

  // registry and insight
  POSITIONS_NOT_RISING: reason("invalid", "The groups of a stream must come by rising position."),

  // insight
  SAMPLE_TIME_INVALID: reason("invalid", "A sample is too old or lies in the future."),
  NO_SAMPLES: reason("not_found", "No attempt of the job has been recorded."),

  // gateway
  RATE_LIMITED: reason("exhausted", "The caller makes too many calls; retry after the delay."),

  // sdk
  CAPABILITY_MISSING: reason(
    "invalid",
    "The agent was given no capability; it needs one to start.",
  ),
  CREDENTIALS_MISSING: reason("invalid", "The agent or client was given nothing to sign in with."),
  CAPABILITY_INVALID: reason("invalid", "A capability is not written as name@semver."),
  PAYLOAD_TOO_LARGE: reason("invalid", "A payload is larger than may travel inline."),
  PAYLOAD_NOT_JSON: reason("invalid", "A value is no JSON, or a payload does not hold any."),
  CONNECTION_LOST: reason("unavailable", "The session ended before the answer came."),
  AGENT_NOT_CONNECTED: reason("not_found", "The receiver of a message has no session."),
  AGENT_OVERLOADED: reason("exhausted", "The receiver takes no more messages; retry later."),
  MESSAGE_EXPIRED: reason("deadline", "The message or its answer did not arrive in time."),
  MESSAGE_ID_IN_USE: reason(
    "conflict",
    "An agent names a message like one of its own that has no outcome yet; await that one's.",
  ),
  MESSAGE_LOOP: reason("precondition", "Messages would cause each other without end."),
  CANCELLED_TOO_LATE: reason(
    "cancelled",
    "A durable message was taken back when it may have been stored already.",
  ),
  REPLY_IN_PARTS: reason(
    "precondition",
    "The receiver answers in parts, which were not asked for.",
  ),
  REPLY_CUT: reason("unavailable", "A part of a reply was lost; ask again."),
  HANDLER_FAILED: reason(
    "precondition",
    "The receiver's handler failed; `failure_reason` is its own word for why.",
  ),
  NO_HANDLER: reason("not_found", "The receiver has no handler for what it was asked."),
  AGENT_SILENT: reason("unavailable", "The receiver does not acknowledge messages; retry later."),
  SUBSCRIPTION_LIMIT: reason("exhausted", "The agent has as many subscriptions as it may."),
  MESSAGE_REFUSED: reason("invalid", "The mesh-router refused the message; it says why."),

  // CLI
  USAGE: reason("invalid", "The command line is wrong; --help shows how it is meant."),
  NOT_LOGGED_IN: reason("unauthenticated", "There is no stored login; run `nexus login` first."),
  UNEXPECTED: reason("internal", "The CLI itself failed; run it again with the error at hand."),

  // devkit
  POSTGRES_BINARIES_MISSING: reason("precondition", "Embedded Postgres is not installed here."),
  POSTGRES_START_FAILED: reason("precondition", "Embedded Postgres did not start; it says why."),
  REDIS_MISSING: reason("precondition", "No redis-server or valkey-server is on the PATH."),
  REDIS_START_FAILED: reason(
    "precondition",
    "The local Redis did not start; its last words are in the message.",
  ),
  NATS_MISSING: reason("precondition", "No nats-server is on the PATH."),
  NATS_START_FAILED: reason(
    "precondition",
    "The local NATS server did not start; its last words are in the message.",
  ),
  DATA_DIR_IN_USE: reason("precondition", "Another live process uses the data directory."),
  DATA_DIR_UNSAFE: reason(
    "precondition",
    "A folder in the temp directory belongs to someone else.",
  ),
  PORT_IN_USE: reason("precondition", "A port that is needed is taken; each is named."),
  STACK_START_FAILED: reason("precondition", "A service of the stack did not become ready."),
} as const satisfies Readonly<Record<string, ErrorReason>>;

/** The names of all stable reasons. */
export type ErrorReasonName = keyof typeof ERROR_REASONS;

/** Says whether a string is one of the documented reasons. */
export function isErrorReason(value: string): value is ErrorReasonName {
  return Object.hasOwn(ERROR_REASONS, value);
}
