/** Fan-out over a list: one task for each element of another task's output, and the list of what they put out. */
import { PAYLOAD_MAX_BYTES } from "./limits.ts";
import type { LiveSpec } from "./live-task.ts";
import type { MapSpec } from "./map-spec.ts";
import type { Payload, StoredTaskSpec } from "./task.ts";

/** The elements of a list, each as JSON, or why there are none. */
export type Items =
  | { readonly ok: true; readonly items: readonly string[] }
  | { readonly ok: false; readonly reason: string; readonly message: string };

const JSON_TYPE = "application/json";

/** Says whether the end of a task may be what a mapped task waits for. */
export function feedsMap(spec: Pick<LiveSpec, "feedsMap" | "isMapItem">): boolean {
  return spec.feedsMap === true || spec.isMapItem === true;
}

/** Reads the list that is mapped over. `room` is how many tasks the job may still get. */
export function readItems(
  output: Payload | undefined,
  { source, maxItems }: MapSpec,
  room: number,
): Items {
  const isReadable = output !== undefined && output.storedBytes === undefined && isJson(output);
  const list = isReadable ? tryParse(output) : undefined;
  if (!Array.isArray(list)) {
    const message = `The output of "${source}" is no JSON list, or too large to be one.`;
    return { ok: false, reason: "MAP_SOURCE_INVALID", message };
  }
  const most = Math.min(maxItems, room);
  if (list.length > most) {
    const message = `The list of "${source}" has ${list.length} elements; at most ${most} are allowed here.`;
    return { ok: false, reason: "MAP_TOO_LARGE", message };
  }
  return { ok: true, items: list.map((item) => JSON.stringify(item)) };
}

/** What comes out of an empty list. */
export const EMPTY_LIST: Payload = { contentType: JSON_TYPE, data: Buffer.from("[]") };

/** Writes outputs as one JSON list, in their order: JSON as it is, text as a string, anything else as an object with its
 * content type and base64, and one that is stored apart with its content type, SHA-256 in hex and size. Undefined when the list exceeds a payload. */
export function joinOutputs(outputs: readonly Payload[]): Payload | undefined {
  const text = `[${outputs.map(toJson).join(",")}]`;
  const data = Buffer.from(text);
  return data.byteLength > PAYLOAD_MAX_BYTES ? undefined : { contentType: JSON_TYPE, data };
}

function toJson(output: Payload): string {
  const { contentType, data, storedBytes } = output;
  if (storedBytes !== undefined) {
    const sha256 = Buffer.from(data).toString("hex");
    return JSON.stringify({ contentType, sha256, sizeBytes: storedBytes });
  }
  const text = () => Buffer.from(output.data).toString();
  if (isJson(output) && tryParse(output) !== undefined) return text();
  if (mediaTypeOf(output).startsWith("text/")) return JSON.stringify(text());
  return JSON.stringify({ contentType, base64: Buffer.from(data).toString("base64") });
}

function mediaTypeOf({ contentType }: Payload): string {
  return contentType.split(";")[0]?.trim().toLowerCase() ?? "";
}

function isJson(payload: Payload): boolean {
  const type = mediaTypeOf(payload);
  return type === JSON_TYPE || type.endsWith("+json");
}

/** The value, or undefined, which JSON cannot say, for what is no JSON. */
function tryParse({ data }: Payload): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString());
  } catch {
    return undefined;
  }
}

/** The key of the task that has an element. No key of a user can be one: `#` is not allowed there. */
export function itemKey(of: string, index: number): string {
  return `${of}#${index}`;
}

/** The spec of the task that has an element: as the mapped one, but it waits for nothing. */
export function itemSpec(spec: StoredTaskSpec, index: number): StoredTaskSpec {
  const { map, feedsMap: _feeds, ...rest } = spec;
  const itemName = map?.itemName ?? "";
  return {
    ...rest,
    key: itemKey(spec.key, index),
    dependencies: [],
    mapItem: { of: spec.key, index, itemName },
  };
}
