import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  JobService,
  TaskStreamEventSchema,
  WatchTaskResponseSchema,
} from "@nexus/proto/orchestrator";
import { type CallContext, type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { AsyncQueue } from "@nexus/shared";
import { FRAME_ITEMS_MAX } from "../domain/limits.ts";
import type { TaskView } from "../domain/task.ts";
import { isTerminalTaskState } from "../domain/task-state.ts";
import { StreamCursor, type StreamEvent } from "../domain/task-stream.ts";
import { streamBytesOf, type TaskStreamItem } from "../engine/task-streams.ts";
import { streamAtOwner } from "./at-owner.ts";
import { fromFailure, fromTaskState } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { assertTaskId, findTask } from "./find.ts";
import { WATCH_MESSAGE_BYTES, WatchInbox } from "./watch-inbox.ts";

type Message = MessageInitShape<typeof WatchTaskResponseSchema>;
type WireEvent = MessageInitShape<typeof TaskStreamEventSchema>;

/** Serves WatchTask: what is kept of the newest attempt first, then what comes in from the moment of subscription on.
 *
 * The subscription begins before anything is read, so nothing falls between the two; the cursor swallows what comes
 * twice. */
export function createWatchTask(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.watchTask> {
  return async function* watchTask({ taskId, afterFence, afterSequence }, ctx) {
    assertTaskId(taskId);
    let place = { afterFence, afterSequence };
    const stream = streamAtOwner<Message>(deps, ctx, () => ({
      id: taskId,
      local: () => watchHere(deps, { taskId, ...place }, ctx),
      remote: (peer, options) => peer.watchTask({ taskId, ...place }, options),
    }));
    for await (const message of stream) {
      place = placeBehind(message, place);
      yield message;
    }
  };
}

async function* watchHere(
  deps: HandlerDeps,
  { taskId, afterFence, afterSequence }: Place & { readonly taskId: string },
  ctx: CallContext,
): AsyncGenerator<Message> {
  const { namespace } = requirePrincipal(ctx);
  await findTask(deps, namespace, taskId);
  const subscription = deps.engine.streams.subscribe(taskId);
  const leave = () => subscription.close();
  ctx.signal.addEventListener("abort", leave, { once: true });
  try {
    const cursor = new StreamCursor(afterFence, afterSequence);
    yield* new TaskWatch(deps, { namespace, taskId }, cursor).run(subscription.items, ctx);
  } finally {
    ctx.signal.removeEventListener("abort", leave);
    subscription.close();
  }
}

/** Where a watch stands, as its request says it. */
interface Place {
  readonly afterFence: bigint;
  readonly afterSequence: bigint;
}

function placeBehind({ events = [] }: Message, before: Place): Place {
  let place = before;
  for (const { event } of events) {
    if (event?.case === "attemptStarted") {
      place = { afterFence: event.value.fence ?? 0n, afterSequence: 0n };
    } else if (event?.case === "chunk") {
      const { fence = 0n, sequence = 0n } = event.value;
      place = { afterFence: fence, afterSequence: sequence };
    }
  }
  return place;
}

interface Subject {
  readonly namespace: string;
  readonly taskId: string;
}

/** One watcher's way through a task's stream. */
class TaskWatch {
  readonly #deps: HandlerDeps;
  readonly #subject: Subject;
  readonly #cursor: StreamCursor;

  constructor(deps: HandlerDeps, subject: Subject, cursor: StreamCursor) {
    this.#deps = deps;
    this.#subject = subject;
    this.#cursor = cursor;
  }

  async *run(items: AsyncQueue<TaskStreamItem>, ctx: CallContext): AsyncGenerator<Message> {
    yield* this.#catchUp();
    const inbox = new WatchInbox(items, this.#deps.watchHeartbeatMs, streamBytesOf);
    while (!this.#cursor.ended && !ctx.signal.aborted) {
      const batch = await inbox.next();
      if (batch === undefined) return;
      if (batch.some((item) => item.kind === "gap")) yield* this.#catchUp();
      else yield toMessage(batch.flatMap((item) => this.#take(item)));
    }
  }

  /** Tells how the task stands and what is kept of its newest attempt. The end of a task comes after its chunks. */
  async *#catchUp(): AsyncGenerator<Message> {
    const { namespace, taskId } = this.#subject;
    const task = await findTask(this.#deps, namespace, taskId);
    const over = isTerminalTaskState(task.state);
    if (!over) yield* tell(this.#cursor.standing(standingOf(task)));
    const newest = await this.#deps.reader.newestAttempt(taskId);
    if (newest !== undefined) {
      yield* tell(this.#cursor.enter(newest));
      yield* this.#kept();
    }
    const progress = this.#deps.engine.progressOf(taskId) ?? 0;
    if (over) yield* tell(this.#cursor.standing(standingOf(task)));
    else if (progress > 0) yield* tell([{ kind: "progress", progress, message: "" }]);
  }

  /** Tells the chunks behind the cursor's place: those of the table, then those on their way to it. */
  async *#kept(): AsyncGenerator<Message> {
    const { taskId } = this.#subject;
    const { fence } = this.#cursor;
    const pending = this.#deps.engine.streams.pendingOf(taskId, fence);
    const limits = { items: FRAME_ITEMS_MAX, bytes: WATCH_MESSAGE_BYTES };
    for (let after = this.#cursor.sequence; ; ) {
      const chunks = await this.#deps.reader.chunks({ taskId, fence, after }, limits);
      const last = chunks.at(-1);
      if (last === undefined) break;
      after = last.sequence;
      yield* tell(chunks.flatMap((chunk) => this.#cursor.chunk(chunk)));
    }
    for (const chunk of pending) yield* tell(this.#cursor.chunk(chunk));
  }

  #take(item: TaskStreamItem): StreamEvent[] {
    if (this.#cursor.ended) return [];
    switch (item.kind) {
      case "chunk":
        return this.#cursor.chunk(item.chunk);
      case "progress": {
        const { progress, message } = item;
        return item.fence === this.#cursor.fence ? [{ kind: "progress", progress, message }] : [];
      }
      case "change": {
        const { change, fence } = item;
        const { attempt, agentId } = change;
        const begun = change.state === "LEASED" && fence > 0n;
        const started = begun ? this.#cursor.enter({ fence, attempt, agentId }) : [];
        return [...this.#cursor.standing(change), ...started];
      }
      case "gap":
        return [];
    }
  }
}

function standingOf({ state, attempts, agentId, failure }: TaskView) {
  return { state, attempt: attempts, agentId, failure };
}

function* tell(events: readonly StreamEvent[]): Generator<Message> {
  if (events.length > 0) yield toMessage(events);
}

function toMessage(events: readonly StreamEvent[]): Message {
  return { events: events.map(fromEvent) };
}

function fromEvent(event: StreamEvent): WireEvent {
  switch (event.kind) {
    case "standing": {
      const { attempt, agentId } = event;
      const failure = event.failure === undefined ? {} : { failure: fromFailure(event.failure) };
      const value = { state: fromTaskState(event.state), attempt, agentId, ...failure };
      return { event: { case: "standing", value } };
    }
    case "started": {
      const { kind: _, ...value } = event;
      return { event: { case: "attemptStarted", value } };
    }
    case "chunk": {
      const { fence, sequence } = event;
      const data = event.data as Uint8Array<ArrayBuffer>;
      return { event: { case: "chunk", value: { fence, sequence, data } } };
    }
    case "progress": {
      const { progress, message } = event;
      return { event: { case: "progress", value: { progress, message } } };
    }
    case "gap": {
      const { kind: _, ...value } = event;
      return { event: { case: "gap", value } };
    }
  }
}
