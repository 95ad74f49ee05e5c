import { createRequire } from "node:module";
import { NexusError } from "@nexus/shared";
import type { TaskContext } from "./task-context.ts";

/** A JSON Schema (2020-12) as a plain object. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What the registry is told about a capability, besides its name and version. */
export interface CapabilityOptions {
  /** Checked before the handler runs; a task that breaks it fails with INPUT_INVALID and is not retried. */
  readonly input?: JsonSchema;
  /** Checked before the result is sent; a result that breaks it fails with OUTPUT_INVALID and is not retried. */
  readonly output?: JsonSchema;
  readonly description?: string;
  readonly tags?: readonly string[];
  /** Micro-units of the deployment's currency for one task. */
  readonly costMicros?: number;
}

/** Does one task. Its result becomes the task's output (see toPayload). */
export type TaskHandler<I, O> = (ctx: TaskContext, input: I) => Promise<O> | O;

/** One thing an agent can do. */
export interface Capability {
  /** `name@version`. */
  readonly spec: string;
  readonly name: string;
  readonly version: string;
  readonly options: CapabilityOptions;
  readonly handler: TaskHandler<unknown, unknown>;
  /** Returns what is wrong with a value, or undefined. */
  readonly checkInput: (value: unknown) => string | undefined;
  readonly checkOutput: (value: unknown) => string | undefined;
}

const SPEC = /^([a-z][a-z0-9._-]{0,127})@(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)$/;

/** Builds a capability from `name@version`; compiles its schemas once.
 *
 * Errors: invalid/CAPABILITY_INVALID when the text or a schema is malformed. */
export function createCapability<I, O>(
  spec: string,
  options: CapabilityOptions,
  handler: TaskHandler<I, O>,
): Capability {
  const match = SPEC.exec(spec);
  if (match === null) {
    throw invalid(`"${spec}" is not a capability; write name@version, e.g. text.analyse@1.0.0.`);
  }
  const [, name = "", version = ""] = match;
  return {
    spec,
    name,
    version,
    options,
    // The caller states I and O; schemas, when given, make the statement true at run time.
    handler: handler as TaskHandler<unknown, unknown>,
    checkInput: compile(options.input),
    checkOutput: compile(options.output),
  };
}

/** Loaded by the first schema: a client, which has none, would load as much code again as it has need of. */
function loadAjv(): typeof import("ajv/dist/2020.js").Ajv2020 {
  const load = createRequire(import.meta.url);
  return (load("ajv/dist/2020.js") as typeof import("ajv/dist/2020.js")).Ajv2020;
}

function compile(schema: JsonSchema | undefined): (value: unknown) => string | undefined {
  if (schema === undefined) return () => undefined;
  const Ajv2020 = loadAjv();
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false });
  try {
    const validate = ajv.compile(schema);
    return (value) => (validate(value) ? undefined : ajv.errorsText(validate.errors));
  } catch (error) {
    throw invalid("A capability's JSON Schema does not compile.", error);
  }
}

function invalid(message: string, cause?: unknown): NexusError {
  return new NexusError({ kind: "invalid", reason: "CAPABILITY_INVALID", message, cause });
}
