import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { JobEventSchema, JobService, WatchJobResponseSchema } from "@nexus/proto/orchestrator";
import { type CallContext, type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import type { AsyncQueue } from "@nexus/shared";
import type { JobEvent } from "../domain/job-event.ts";
import { isTerminalJobState } from "../domain/job-state.ts";
import { FRAME_ITEMS_MAX } from "../domain/limits.ts";
import { isJobId } from "../domain/public-ids.ts";
import { type LiveEvent, type WatchItem, watchBytesOf } from "../engine/watch-hub.ts";
import { streamAtOwner } from "./at-owner.ts";
import { fromFailure, fromJobState, fromTaskState } from "./convert.ts";
import type { HandlerDeps } from "./deps.ts";
import { findJob } from "./find.ts";
import { WatchInbox } from "./watch-inbox.ts";

type Message = MessageInitShape<typeof WatchJobResponseSchema>;
type WireEvent = MessageInitShape<typeof JobEventSchema>;

/** Serves WatchJob: the stored history first, then what is committed from the moment of subscription on.
 *
 * The subscription begins before the history is read, so nothing falls between the two; what comes twice is known by
 * its number. */
export function createWatchJob(
  deps: HandlerDeps,
): MethodImplementation<typeof JobService.method.watchJob> {
  return async function* watchJob({ jobId, afterSequence }, ctx) {
    let after = afterSequence;
    const stream = streamAtOwner<Message>(deps, ctx, () => ({
      id: isJobId(jobId) ? jobId : undefined,
      local: () => watchHere(deps, { jobId, after }, ctx),
      remote: (peer, options) => peer.watchJob({ jobId, afterSequence: after }, options),
    }));
    for await (const message of stream) {
      after = message.events?.at(-1)?.sequence ?? after;
      yield message;
    }
  };
}

async function* watchHere(
  deps: HandlerDeps,
  { jobId, after }: { readonly jobId: string; readonly after: bigint },
  ctx: CallContext,
): AsyncGenerator<Message> {
  const { namespace } = requirePrincipal(ctx);
  const job = await findJob(deps, namespace, jobId);
  const subscription = deps.engine.hub.subscribe(jobId);
  const leave = () => subscription.close();
  ctx.signal.addEventListener("abort", leave, { once: true });
  try {
    const watch = new Watch(deps, { jobId, namespace, since: job.createdAt });
    yield* watch.run(subscription.items, after, ctx);
  } finally {
    ctx.signal.removeEventListener("abort", leave);
    subscription.close();
  }
}

interface Subject {
  readonly jobId: string;
  readonly namespace: string;
  readonly since: Date;
}

/** One watcher's way through a job's events. */
class Watch {
  readonly #deps: HandlerDeps;
  readonly #subject: Subject;
  #last = 0n;
  #ended = false;

  constructor(deps: HandlerDeps, subject: Subject) {
    this.#deps = deps;
    this.#subject = subject;
  }

  async *run(
    items: AsyncQueue<WatchItem>,
    afterSequence: bigint,
    ctx: CallContext,
  ): AsyncGenerator<Message> {
    this.#last = afterSequence;
    yield* this.#history();
    // The end may lie behind `after_sequence`, or its event beyond the retention: then the job itself says it.
    if (!this.#ended) await this.#lookForEnd();
    const inbox = new WatchInbox(items, this.#deps.watchHeartbeatMs, watchBytesOf);
    while (!this.#ended && !ctx.signal.aborted) {
      const batch = await inbox.next();
      if (batch === undefined) return;
      if (batch.some((item) => item.kind === "gap")) {
        yield* this.#history();
        if (!this.#ended) await this.#lookForEnd();
        continue;
      }
      yield { events: batch.flatMap((item) => this.#take(item)) };
    }
  }

  async *#history(): AsyncGenerator<Message> {
    const { jobId, since } = this.#subject;
    for (;;) {
      const page = { since, limit: FRAME_ITEMS_MAX };
      const events = await this.#deps.reader.events(jobId, this.#last, page);
      if (events.length === 0) return;
      yield { events: events.flatMap((event) => this.#takeEvent(event)) };
      if (this.#ended || events.length < FRAME_ITEMS_MAX) return;
    }
  }

  async #lookForEnd(): Promise<void> {
    const { jobId, namespace } = this.#subject;
    const job = await findJob(this.#deps, namespace, jobId);
    if (!isTerminalJobState(job.state)) return;
    const page = { since: this.#subject.since, limit: 1 };
    const rest = await this.#deps.reader.events(jobId, this.#last, page);
    this.#ended = rest.length === 0;
  }

  #take(item: WatchItem): WireEvent[] {
    if (item.kind === "event") return this.#takeEvent(item.event);
    if (item.kind === "live" && !this.#ended) return [fromLive(item.live, this.#last)];
    return [];
  }

  #takeEvent(event: JobEvent): WireEvent[] {
    if (event.sequence <= this.#last || this.#ended) return [];
    this.#last = event.sequence;
    if (event.change.kind === "job") this.#ended = isTerminalJobState(event.change.state);
    return [fromEvent(event)];
  }
}

function fromEvent({ sequence, at, change }: JobEvent): WireEvent {
  const failure = change.failure === undefined ? {} : { failure: fromFailure(change.failure) };
  const time = timestampFromDate(at);
  if (change.kind === "job") {
    const value = { state: fromJobState(change.state), ...failure };
    return { sequence, time, event: { case: "jobChanged", value } };
  }
  const { taskId, taskKey, attempt, agentId } = change;
  const value = {
    taskId,
    taskKey,
    attempt,
    agentId,
    state: fromTaskState(change.state),
    ...failure,
  };
  return { sequence, time, event: { case: "taskChanged", value } };
}

function fromLive(live: LiveEvent, sequence: bigint): WireEvent {
  const { taskId, taskKey } = live;
  if (live.kind === "progress") {
    const value = { taskId, taskKey, progress: live.progress, message: live.message };
    return { sequence, event: { case: "taskProgressed", value } };
  }
  const data = live.data as Uint8Array<ArrayBuffer>;
  const value = { taskId, taskKey, chunkSequence: live.sequence, data };
  return { sequence, event: { case: "taskChunk", value } };
}
