/** The tasks of a job that is submitted, from JSON. */
import { create, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import {
  EdgePolicy,
  LabelComparator,
  SubmitJobRequestSchema,
  TaskSpecSchema,
} from "@nexus/proto/orchestrator";
import {
  type PlannedTask,
  RawPayload,
  StoredPayload,
  toStoredPayload,
  toTaskSpec,
  uploadPayload,
} from "@nexus/sdk";
import { KiB, MiB } from "@nexus/shared";
import type { CommandContext } from "../command.ts";
import { usageError } from "../usage-error.ts";

/** What a message holds where the gateway is not told otherwise, less what a request has beside its tasks. */
const TASKS_BYTES_MAX = 4 * MiB - 128 * KiB;
/** A stored body counts for as much of its namespace's quota, however small it is. */
const STORED_BYTES_MIN = 64 * KiB;
/** What a task carries in place of a body. */
const REFERENCE_BYTES = 64;

type ReadTask = PlannedTask & { input?: unknown };

/** Reads tasks as protobuf JSON, except that `input` is a plain value instead of base64; a large one is stored first, and as many as make the
 * job too large for a message. */
export async function readTasks(ctx: CommandContext, value: JsonValue) {
  if (!Array.isArray(value)) throw usageError("--tasks is a JSON list of tasks.");
  const tasks = value.map(readTask);
  const { payloads } = ctx.client();
  for (const task of tasks) {
    if (task.input === undefined) continue;
    task.input = await toStoredPayload(payloads, task.input, { signal: ctx.signal });
  }
  await storeWhatIsTooMuch(ctx, tasks);
  return tasks.map(toTaskSpec);
}

/** Stores the largest inputs until all tasks together fit into a message. What does not fit then is the gateway's to refuse, as it may have
 * been told of another limit. */
async function storeWhatIsTooMuch(ctx: CommandContext, tasks: readonly ReadTask[]): Promise<void> {
  let sizeBytes = bytesOf(tasks);
  const bodies = tasks.flatMap((task) => {
    const { input } = task;
    const isWorth = input instanceof RawPayload && input.data.byteLength >= STORED_BYTES_MIN;
    return isWorth ? [{ task, input }] : [];
  });
  bodies.sort((one, other) => other.input.data.byteLength - one.input.data.byteLength);
  for (const { task, input } of bodies) {
    if (sizeBytes <= TASKS_BYTES_MAX) return;
    const { contentType, data } = input;
    const reference = await uploadPayload(ctx.client().payloads, data, { signal: ctx.signal });
    task.input = new StoredPayload(contentType, reference);
    sizeBytes -= data.byteLength - REFERENCE_BYTES;
  }
}

function bytesOf(tasks: readonly ReadTask[]): number {
  const request = create(SubmitJobRequestSchema, { tasks: tasks.map(toTaskSpec) });
  return toBinary(SubmitJobRequestSchema, request).byteLength;
}

function readTask(entry: unknown, index: number): ReadTask {
  if (entry === null || typeof entry !== "object" || Array.isArray(entry)) {
    throw usageError(`Task ${index + 1} is no JSON object.`);
  }
  const { input, ...spec } = entry as { input?: unknown } & Record<string, JsonValue>;
  try {
    const { $typeName: _, input: _none, ...known } = fromJson(TaskSpecSchema, withFullNames(spec));
    return { ...known, input };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    const key = typeof spec["key"] === "string" ? `, ${spec["key"]}` : "";
    throw usageError(`Task ${index + 1}${key}: ${problem}`);
  }
}

/** Enums of a task by their fields; people leave the prefix out. */
const ENUMS: Readonly<Record<string, { readonly prefix: string; readonly names: object }>> = {
  onFailure: { prefix: "EDGE_POLICY_", names: EdgePolicy },
  comparator: { prefix: "LABEL_COMPARATOR_", names: LabelComparator },
};

/** The same JSON with the full names of enums.
 *
 * Errors: Error with the words that there are. */
function withFullNames<T extends JsonValue>(json: T): T {
  return JSON.parse(JSON.stringify(json), (field, value: JsonValue) => {
    const known = ENUMS[field];
    if (known === undefined || typeof value !== "string") return value;
    const word = value.toUpperCase().replace(known.prefix, "");
    const words = Object.keys(known.names).filter((name) => /^[A-Z_]+$/.test(name));
    if (words.includes(word)) return `${known.prefix}${word}`;
    const choice = words.filter((name) => name !== "UNSPECIFIED").join(", ");
    throw new Error(`${field} is one of ${choice}, not "${value}"`);
  }) as T;
}
