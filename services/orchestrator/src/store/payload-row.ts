/** Payloads as the views of inputs and outputs have them. */
import type { Payload } from "../domain/task.ts";

/** A row of task_inputs or task_outputs. */
export interface PayloadRow {
  readonly content_type: string | null;
  readonly data: Buffer;
  /** A bigint; set when `data` is the SHA-256 of a body that is stored apart. */
  readonly stored_bytes: string | null;
}

/** Makes the payload of a row. */
export function toPayload({ content_type, data, stored_bytes }: PayloadRow): Payload {
  const contentType = content_type ?? "";
  if (stored_bytes === null) return { contentType, data };
  return { contentType, data, storedBytes: Number(stored_bytes) };
}
