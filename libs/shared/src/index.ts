export { onAbort } from "./abort.ts";
export { type AsyncQueue, createAsyncQueue, type QueueRoom } from "./async-queue.ts";
export { type BatchLimits, BatchQueue, type BatchQueueOptions } from "./batch-queue.ts";
export { type Batcher, type BatcherOptions, createBatcher } from "./batcher.ts";
export {
  type AgentId,
  type Brand,
  DEFAULT_NAMESPACE,
  ID_LENGTH_MAX,
  type JobId,
  NAMESPACE_LENGTH_MAX,
  type Namespace,
  type PrincipalId,
  parseAgentId,
  parseJobId,
  parseNamespace,
  parsePrincipalId,
  parseSessionId,
  parseTaskId,
  type SessionId,
  SYSTEM_NAMESPACE,
  type TaskId,
} from "./brands.ts";
export type { Cache, CacheKey, CacheOptions, CacheStats } from "./cache.ts";
export { addressOfPeer, callerOfAddress, isAddress } from "./caller-address.ts";
export { type Clock, createManualClock, type ManualClock, systemClock } from "./clock.ts";
export { renderErrorDocs } from "./error-docs.ts";
export {
  ERROR_KINDS,
  type ErrorKind,
  type ErrorKindInfo,
  isErrorKind,
  kindOfGrpcCode,
} from "./error-kinds.ts";
export {
  ERROR_REASONS,
  type ErrorReason,
  type ErrorReasonName,
  isErrorReason,
} from "./error-reasons.ts";
export { createFifoCache } from "./fifo-cache.ts";
export { keyFileModeProblem, type ProcessIdentity, processIdentity } from "./file-mode.ts";
export { detachFromFrame } from "./frame-bytes.ts";
export { createIds, type Ids } from "./ids.ts";
export { createLfuCache } from "./lfu-cache.ts";
export {
  createLogger,
  createSilentLogger,
  LOG_LEVELS,
  type Logger,
  type LoggerOptions,
  type LogLevel,
} from "./logger.ts";
export { createLruCache } from "./lru-cache.ts";
export {
  type ErrorDetails,
  type FieldViolation,
  INTERNAL_ERROR_MESSAGE,
  NexusError,
  type NexusErrorInit,
} from "./nexus-error.ts";
export { PassingMap } from "./passing-map.ts";
export {
  createPerformanceTimers,
  type PerformanceTimerOptions,
  type PerformanceTimers,
  type TimerSnapshot,
} from "./performance-timers.ts";
export {
  type AccessDecision,
  type AccessRequest,
  type CompiledPolicies,
  compilePolicies,
  evaluate,
  type Policy,
  type PolicyStatement,
} from "./policy.ts";
export { REDACTED, redactSecrets, SECRET_FIELDS } from "./redact.ts";
export {
  compileResourcePattern,
  isResource,
  parseResourcePattern,
  RESOURCE_LENGTH_MAX,
} from "./resource.ts";
export type { HeldScopes } from "./scope.ts";
export { holdsScope, matchesScope, overlapsScope, parseScope } from "./scope.ts";
export {
  createSloTracker,
  type SloOptions,
  type SloReport,
  type SloTracker,
} from "./slo-tracker.ts";
export { TASK_FAILURE_REASONS, type TaskFailureReason } from "./task-failure-reasons.ts";
export { type BackoffPolicy, backoffDelayMs, sleep, withDeadline } from "./timing.ts";
export { GiB, KiB, MiB } from "./units.ts";
export { NEXUS_VERSION } from "./version.ts";
