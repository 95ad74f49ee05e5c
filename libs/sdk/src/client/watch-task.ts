import { TaskState, type TaskStreamEvent } from "@nexus/proto/orchestrator";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { NexusClient } from "./client.ts";

/** Where and for how long to watch. */
export interface WatchTaskOptions {
  /** Ends the watch with cancelled/CANCELLED. */
  readonly signal?: AbortSignal;
  /** Go on behind this chunk of this attempt, as a chunk event named it; left out: from the newest attempt's first. */
  readonly after?: { readonly fence: bigint; readonly sequence: bigint };
}

const RECONNECT = { initialMs: 200, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
/** Streams that may break one after the other without an event between them. */
const FAILURES_MAX = 10;
const TERMINAL: ReadonlySet<TaskState> = new Set([
  TaskState.SUCCEEDED,
  TaskState.FAILED,
  TaskState.CANCELLED,
  TaskState.SKIPPED,
]);

/** Follows one task until it ends, over broken streams too: each chunk comes once and in order.
 *
 * A new attempt is announced by `attemptStarted`, whose chunks replace those before; what is missing by `gap`. After
 * a broken stream the state may be told again.
 * Errors: not_found/TASK_NOT_FOUND; cancelled/CANCELLED; the last error once 10 streams in a row broke.
 *
 * @example
 * for await (const { event } of watchTask(nexus, taskId)) {
 *   if (event.case === "chunk") process.stdout.write(event.value.data);
 * }
 */
export async function* watchTask(
  client: Pick<NexusClient, "jobs">,
  taskId: string,
  options: WatchTaskOptions = {},
): AsyncGenerator<TaskStreamEvent, void> {
  const { signal, after } = options;
  const place: Place = {
    afterFence: after?.fence ?? 0n,
    afterSequence: after?.sequence ?? 0n,
    failures: 0,
    ended: false,
  };
  for (;;) {
    yield* follow(client, { taskId, place, signal });
    if (place.ended) return;
    await sleep(backoffDelayMs(Math.max(1, place.failures), RECONNECT), signal);
  }
}

/** How far a watch has come. */
interface Place {
  afterFence: bigint;
  afterSequence: bigint;
  /** Broken streams since the last event. */
  failures: number;
  ended: boolean;
}

interface Watch {
  readonly taskId: string;
  readonly place: Place;
  readonly signal: AbortSignal | undefined;
}

/** One stream's events. Returns when it broke in a way that is worth another one, or ended, as that of a server that
 * leaves does before the task did. */
async function* follow(
  { jobs }: Pick<NexusClient, "jobs">,
  { taskId, place, signal }: Watch,
): AsyncGenerator<TaskStreamEvent> {
  const { afterFence, afterSequence } = place;
  const call = signal === undefined ? {} : { signal };
  try {
    for await (const { events } of jobs.watchTask({ taskId, afterFence, afterSequence }, call)) {
      place.failures = 0;
      yield* passed(events, place);
      if (place.ended) return;
    }
  } catch (error) {
    place.failures += 1;
    if (place.failures >= FAILURES_MAX || !isWorthAnother(NexusError.from(error))) throw error;
  }
}

/** Hands events out up to the task's end, the place behind each of them. */
function* passed(events: readonly TaskStreamEvent[], place: Place): Generator<TaskStreamEvent> {
  for (const event of events) {
    moveBehind(event, place);
    place.ended = isEnd(event);
    yield event;
    if (place.ended) return;
  }
}

function moveBehind({ event }: TaskStreamEvent, place: Place): void {
  if (event.case !== "attemptStarted" && event.case !== "chunk") return;
  place.afterFence = event.value.fence;
  place.afterSequence = event.case === "chunk" ? event.value.sequence : 0n;
}

function isEnd({ event }: TaskStreamEvent): boolean {
  return event.case === "standing" && TERMINAL.has(event.value.state);
}

function isWorthAnother(error: NexusError): boolean {
  return error.kind === "unavailable" || error.reason === "WATCHER_TOO_SLOW";
}
