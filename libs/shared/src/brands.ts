import { NexusError } from "./nexus-error.ts";

declare const brand: unique symbol;

/** A type that has the values of T but cannot be mixed up with another brand of T. Exists at compile time only. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** The id of a registered agent; also the principal id in its token. */
export type AgentId = Brand<string, "AgentId">;
/** The id of a job. */
export type JobId = Brand<string, "JobId">;
/** The id of a task. */
export type TaskId = Brand<string, "TaskId">;
/** The id of a user, agent or service that holds tokens. */
export type PrincipalId = Brand<string, "PrincipalId">;
/** The tenant boundary: part of every key, query and token. */
export type Namespace = Brand<string, "Namespace">;
/** The id of one live connection of an agent. */
export type SessionId = Brand<string, "SessionId">;

/** Longest id in characters; the contracts use the same number. */
export const ID_LENGTH_MAX = 128;
/** Longest namespace in characters; the contracts use the same number. */
export const NAMESPACE_LENGTH_MAX = 64;

const PRINCIPAL_PATTERN = /^[a-z0-9][a-z0-9._-]*$/;
const ENTITY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;
const ENTITY_ADVICE = "letters, digits and . _ : -, starting with a letter or digit";
const PRINCIPAL_ADVICE = "lower-case letters, digits and . _ -, starting with a letter or digit";

interface IdRule {
  readonly what: string;
  readonly pattern: RegExp;
  readonly lengthMax: number;
  readonly advice: string;
}

function parse(value: string, rule: IdRule): string {
  if (value.length > 0 && value.length <= rule.lengthMax && rule.pattern.test(value)) return value;
  const description = `must have 1 to ${rule.lengthMax} characters: ${rule.advice}`;
  throw new NexusError({
    kind: "invalid",
    reason: "ID_INVALID",
    message: `${rule.what} ${description}.`,
    details: { fieldViolations: [{ field: rule.what, description }] },
  });
}

function entityRule(what: string): IdRule {
  return { what, pattern: ENTITY_PATTERN, lengthMax: ID_LENGTH_MAX, advice: ENTITY_ADVICE };
}

function principalRule(what: string, lengthMax = ID_LENGTH_MAX): IdRule {
  return { what, pattern: PRINCIPAL_PATTERN, lengthMax, advice: PRINCIPAL_ADVICE };
}

const AGENT_ID = principalRule("agent_id");
const PRINCIPAL_ID = principalRule("principal_id");
const NAMESPACE = principalRule("namespace", NAMESPACE_LENGTH_MAX);
const JOB_ID = entityRule("job_id");
const TASK_ID = entityRule("task_id");
const SESSION_ID = entityRule("session_id");

/** Checks the form of an agent id. Errors: invalid/ID_INVALID. */
export function parseAgentId(value: string): AgentId {
  return parse(value, AGENT_ID) as AgentId;
}

/** Checks the form of a job id. Errors: invalid/ID_INVALID. */
export function parseJobId(value: string): JobId {
  return parse(value, JOB_ID) as JobId;
}

/** Checks the form of a task id. Errors: invalid/ID_INVALID. */
export function parseTaskId(value: string): TaskId {
  return parse(value, TASK_ID) as TaskId;
}

/** Checks the form of a principal id. Errors: invalid/ID_INVALID. */
export function parsePrincipalId(value: string): PrincipalId {
  return parse(value, PRINCIPAL_ID) as PrincipalId;
}

/** Checks the form of a session id. Errors: invalid/ID_INVALID. */
export function parseSessionId(value: string): SessionId {
  return parse(value, SESSION_ID) as SessionId;
}

/** Checks the form of a namespace; the empty string means DEFAULT_NAMESPACE. Errors: invalid/ID_INVALID. */
export function parseNamespace(value: string): Namespace {
  return value === "" ? DEFAULT_NAMESPACE : (parse(value, NAMESPACE) as Namespace);
}

/** The namespace of a caller that names none. */
export const DEFAULT_NAMESPACE = "default" as Namespace;

/** The namespace of the services themselves; no user or agent lives in it. */
export const SYSTEM_NAMESPACE = "nexus-system" as Namespace;
