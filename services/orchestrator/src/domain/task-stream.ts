/** What a watcher of one task learns, and how its place in the stream of chunks moves. */
import type { Failure } from "./task.ts";
import { isTerminalTaskState, type TaskState } from "./task-state.ts";

/** One attempt, as the source of a stream of chunks. */
export interface StreamSource {
  readonly fence: bigint;
  readonly attempt: number;
  readonly agentId: string;
}

/** A part of an attempt's output. */
export interface StreamChunk {
  readonly fence: bigint;
  readonly sequence: bigint;
  /** Absent: from here to the next chunk nothing was kept. */
  readonly data: Uint8Array | undefined;
}

/** Where a task is, as its watchers are told. */
export interface Standing {
  readonly state: TaskState;
  readonly attempt: number;
  readonly agentId: string;
  readonly failure: Failure | undefined;
}

/** What a watcher is told. */
export type StreamEvent =
  | ({ readonly kind: "standing" } & Standing)
  | ({ readonly kind: "started"; readonly restarted: boolean } & StreamSource)
  | {
      readonly kind: "chunk";
      readonly fence: bigint;
      readonly sequence: bigint;
      readonly data: Uint8Array;
    }
  | { readonly kind: "progress"; readonly progress: number; readonly message: string }
  | {
      readonly kind: "gap";
      readonly fence: bigint;
      readonly afterSequence: bigint;
      /** 0 while it is not known. */
      readonly nextSequence: bigint;
    };

/** The order of states inside one attempt. READY comes last: it is where a failed attempt leads. */
const RANKS: Readonly<Partial<Record<TaskState, number>>> = { BLOCKED: 0, LEASED: 1, RUNNING: 2 };
const LAST_RANK = 3;

/** Owns a watcher's place. What it has passed already, it swallows: history and live items may overlap. */
export class StreamCursor {
  #fence: bigint;
  #sequence: bigint;
  /** The gap at this place was announced, before it was known where it ends. */
  #gapSaid = false;
  #attempt = -1;
  #rank = -1;
  #ended = false;

  constructor(afterFence: bigint, afterSequence: bigint) {
    this.#fence = afterFence;
    this.#sequence = afterFence === 0n ? 0n : afterSequence;
  }

  get fence(): bigint {
    return this.#fence;
  }

  get sequence(): bigint {
    return this.#sequence;
  }

  /** True once the task's end was told. */
  get ended(): boolean {
    return this.#ended;
  }

  /** An attempt exists: a newer one than the last begins a new stream. */
  enter(source: StreamSource): StreamEvent[] {
    if (source.fence <= this.#fence) return [];
    const restarted = this.#fence > 0n;
    this.#fence = source.fence;
    this.#sequence = 0n;
    this.#gapSaid = false;
    return [{ kind: "started", ...source, restarted }];
  }

  /** A chunk came: told once, in order, with what is missing before it. */
  chunk({ fence, sequence, data }: StreamChunk): StreamEvent[] {
    if (fence !== this.#fence || sequence <= this.#sequence) return [];
    if (data === undefined) return this.#gap(0n);
    const missing = sequence > this.#sequence + 1n ? this.#gap(sequence) : [];
    this.#sequence = sequence;
    this.#gapSaid = false;
    return [...missing, { kind: "chunk", fence, sequence, data }];
  }

  /** The task's state: told when it is not older than the last. */
  standing({ state, attempt, agentId, failure }: Standing): StreamEvent[] {
    if (this.#ended) return [];
    const rank = RANKS[state] ?? LAST_RANK;
    this.#ended = isTerminalTaskState(state);
    const newer = attempt > this.#attempt || (attempt === this.#attempt && rank > this.#rank);
    if (!newer && !this.#ended) return [];
    this.#attempt = attempt;
    this.#rank = rank;
    return [{ kind: "standing", state, attempt, agentId, failure }];
  }

  #gap(nextSequence: bigint): StreamEvent[] {
    if (this.#gapSaid) return [];
    this.#gapSaid = true;
    return [{ kind: "gap", fence: this.#fence, afterSequence: this.#sequence, nextSequence }];
  }
}
