/** The inputs of tasks that were just submitted: most of them are assigned before anything else happens to them, and then need not be
 * read from the tables again. */
import { KiB, MiB } from "@nexus/shared";
import type { Payload } from "../domain/task.ts";

/** Most bytes kept; beyond it the oldest go, and are read from the tables when they are needed. */
export const INPUTS_BYTES_MAX = 16 * MiB;
/** A larger input is not kept: reading it costs little beside sending it. */
export const INPUT_BYTES_MAX = 16 * KiB;
/** What an entry takes beside its data. */
const ENTRY_BYTES = 256;

/** An input as submitted; `payload` is undefined for a task that has none. */
export interface KnownInput {
  readonly payload: Payload | undefined;
}

/** Owns the copies. They never change, so a copy is as good as the row. */
export class InputBook {
  readonly #inputs = new Map<string, KnownInput>();
  #bytes = 0;

  /** Bytes kept, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the input of a task whose row is committed. */
  add(taskId: string, input: Payload | undefined): void {
    if (sizeOf(input) > INPUT_BYTES_MAX + ENTRY_BYTES || this.#inputs.has(taskId)) return;
    // The data may be a piece of a whole submission's bytes, which must not be kept for it.
    const payload = input === undefined ? undefined : { ...input, data: Buffer.from(input.data) };
    this.#inputs.set(taskId, { payload });
    this.#bytes += sizeOf(payload);
    if (this.#bytes > INPUTS_BYTES_MAX) this.#forgetOldest();
  }

  /** Returns what is known of a task's input and forgets it: it is asked for once, unless the attempt fails. */
  take(taskId: string): KnownInput | undefined {
    const known = this.#inputs.get(taskId);
    if (known === undefined) return undefined;
    this.#inputs.delete(taskId);
    this.#bytes -= sizeOf(known.payload);
    return known;
  }

  #forgetOldest(): void {
    for (const taskId of this.#inputs.keys()) {
      this.take(taskId);
      if (this.#bytes <= INPUTS_BYTES_MAX) return;
    }
  }
}

function sizeOf(input: Payload | undefined): number {
  return ENTRY_BYTES + (input?.data.length ?? 0);
}
