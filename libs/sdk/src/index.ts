export type { Latency } from "@nexus/proto/insight";
export { StatePolicy } from "@nexus/proto/mesh";
export {
  EdgePolicy,
  type Job,
  type JobEvent,
  JobState,
  LabelComparator,
  TaskState,
  type TaskStreamEvent,
} from "@nexus/proto/orchestrator";
export { AgentState } from "@nexus/proto/registry";
export { PrincipalKind } from "@nexus/proto/vault";
export {
  type AgentBuilder,
  type AgentOptions,
  createAgent,
  type RunningAgent,
} from "./agent/agent.ts";
export type { CapabilityOptions, JsonSchema, TaskHandler } from "./agent/capability.ts";
export type {
  Address,
  DurableOptions,
  GatherOptions,
  InboundMessage,
  ManyAddress,
  MessageContext,
  MessageHandler,
  MessageOptions,
  Messenger,
  Receipt,
  Reply,
  SubscribeOptions,
} from "./agent/messages.ts";
export type { SecretOptions, TaskContext, TaskInfo, TaskSecret } from "./agent/task-context.ts";
export { TaskError, type TaskErrorInit } from "./agent/task-error.ts";
export { defineTopic, type Topic } from "./agent/topic.ts";
export { type ClientOptions, createClient, type NexusClient } from "./client/client.ts";
export { type WatchTaskOptions, watchTask } from "./client/watch-task.ts";
export type { AccessToken, CredentialSource, Credentials } from "./credentials.ts";
export type { GatewayTls } from "./gateway-channel.ts";
export {
  fromPayload,
  JSON_CONTENT_TYPE,
  PAYLOAD_BYTES_MAX,
  RawPayload,
  StoredPayload,
  type StoredReference,
  toPayload,
} from "./payload.ts";
export {
  createPlan,
  PLAN_CAPABILITY,
  type PlannedTask,
  readPlanRequest,
  toTaskSpec,
} from "./plan.ts";
export {
  type Bucket,
  type DeleteOptions,
  type ListOptions,
  type PutOptions,
  type State,
  StateConflict,
  type StateEntry,
  type StateEvent,
  type StateOrigin,
  type StateVersion,
  type StateWrite,
  type StateWritten,
  type WatchOptions,
} from "./state/state.ts";

export {
  downloadPayload,
  fetchPayload,
  type PayloadClient,
  STORED_PAYLOAD_BYTES_MAX,
  toStoredPayload,
  uploadPayload,
} from "./stored-payload.ts";
