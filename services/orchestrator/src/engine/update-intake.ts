/** Takes in what agents say about their leases and answers their terminal words. */
import { MiB, NexusError } from "@nexus/shared";
import { PAYLOAD_MAX_BYTES } from "../domain/limits.ts";
import type { AgentSaying, AgentUpdate } from "../domain/ports.ts";
import type { Ending } from "../domain/settlement.ts";
import { usesOf } from "../domain/stored-payload.ts";
import type { Payload } from "../domain/task.ts";
import { usePayloads } from "../store/payload-store.ts";
import type { AgentEntry, LiveLease } from "./agent-entry.ts";
import type { WordOutcome } from "./lease-orders.ts";
import type { EngineParts } from "./parts.ts";
import type { Planner } from "./planner.ts";
import type { Settler } from "./settler.ts";

/** Most bytes of outputs that wait for the database. An agent says again what is dropped. */
export const OUTPUTS_WAITING_BYTES_MAX = 64 * MiB;

/** What the intake needs beside the shared parts. */
export interface UpdateIntakeDeps {
  readonly parts: EngineParts;
  readonly settler: Settler;
  readonly planner: Planner;
  /** The agent's slots are counted anew. */
  readonly onReleased: (agent: AgentEntry) => void;
}

/** Owns the updates that wait while the right to write is being taken back. */
export class UpdateIntake {
  readonly #parts: EngineParts;
  readonly #deps: UpdateIntakeDeps;
  #held: AgentUpdate[] = [];
  #heldBytes = 0;
  /** Of outputs whose ends were given on, repeats of the same one too, and have no outcome yet. */
  #endingBytes = 0;

  constructor(deps: UpdateIntakeDeps) {
    this.#deps = deps;
    this.#parts = deps.parts;
  }

  /** Takes an update in. While nothing can be written it is kept, up to a limit: agents repeat terminal words. */
  receive(update: AgentUpdate): void {
    if (this.#parts.ledger.ownership === "owner") {
      this.#handle(update);
      return;
    }
    if (update.saying.kind === "PROGRESS" || update.saying.kind === "CHUNK") return;
    const bytes = outputBytes(update.saying);
    const hasRoom = this.#held.length < this.#parts.limits.updatesQueuedMax && this.#fits(bytes);
    if (!hasRoom) return this.#parts.events.updateDropped("queue_full");
    this.#held.push(update);
    this.#heldBytes += bytes;
  }

  #fits(bytes: number): boolean {
    const waiting = this.#heldBytes + this.#endingBytes;
    return bytes === 0 || waiting + bytes <= OUTPUTS_WAITING_BYTES_MAX;
  }

  /** This process owns again: what was kept is taken in. */
  replay(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const update of held) this.#handle(update);
  }

  #handle(update: AgentUpdate): void {
    // Another replica's to judge, which hears it too or will when the agent says it again.
    if (!this.#parts.ledger.owns(update.taskId)) return;
    const live = this.#parts.book.find(update.taskId, update.fence);
    const own =
      live?.agent.namespace === update.session.namespace &&
      live.agent.agentId === update.session.agentId &&
      live.lease.agentEpoch === update.session.epoch;
    const { saying } = update;
    if (isTerminal(saying)) {
      // An agent that is done at once does not say that it began; it did all the same.
      if (own && saying.kind !== "RELEASED") this.#begin(live);
      this.#settle(update, saying, own ? live : undefined);
    } else if (own) this.#note(live, saying);
    else this.#stop(update);
  }

  #note(live: LiveLease, saying: Exclude<AgentSaying, TerminalSaying>): void {
    const { task } = live.lease;
    live.heardAtMs = this.#parts.nowMs();
    if (saying.kind === "ACCEPTED") this.#accept(live);
    else if (saying.kind === "PROGRESS") {
      live.progress = saying.progress;
      const { progress, message } = saying;
      this.#parts.streams.onProgress(live, progress, message);
      this.#publish(live, {
        kind: "progress",
        taskId: task.taskId,
        taskKey: task.key,
        progress,
        message,
      });
    } else if (this.#parts.streams.onChunk(live, saying.sequence, saying.data)) {
      const { sequence, data } = saying;
      this.#publish(live, {
        kind: "chunk",
        taskId: task.taskId,
        taskKey: task.key,
        sequence,
        data,
      });
    }
  }

  #publish(live: LiveLease, event: Parameters<EngineParts["hub"]["publishLive"]>[1]): void {
    this.#parts.hub.publishLive(live.lease.task.jobId, event);
  }

  /** Notes in memory that an agent began; false when that was known. */
  #begin(live: LiveLease): boolean {
    if (live.accepted) return false;
    live.accepted = true;
    live.acceptedAtMs = this.#parts.nowMs();
    return true;
  }

  #accept(live: LiveLease): void {
    if (!this.#begin(live)) return;
    this.#deps.settler.accept(live.lease.task.taskId, live.lease.fence).catch((error: unknown) => {
      this.#drop(error);
    });
  }

  /** Ends the lease and answers. A word about a lease that is not live is answered all the same: by what ended it. */
  #settle(update: AgentUpdate, saying: TerminalSaying, live: LiveLease | undefined): void {
    const bytes = outputBytes(saying);
    if (!this.#fits(bytes)) return this.#parts.events.updateDropped("queue_full");
    this.#endingBytes += bytes;
    // A lease that is not live is answered by what ended it, whatever the output.
    const output = saying.kind === "COMPLETED" && live !== undefined ? saying.output : undefined;
    if (live === undefined || output === undefined) this.#end(update, endingOf(saying), live);
    else if (live.lease.task.planning) this.#completePlan(update, output, live);
    else if (output.storedBytes !== undefined) this.#endStored(update, output, live);
    else this.#end(update, endingOf(saying), live);
  }

  #completePlan(update: AgentUpdate, output: Payload, live: LiveLease): void {
    const completed = this.#deps.planner.complete(live, update.session, output);
    completed
      .finally(() => this.#letGo(update))
      .then(
        (outcome) => this.#answer(update, outcome),
        (error: unknown) => this.#drop(error),
      );
  }

  /** Once the end of a completed task is queued its slots are free: what comes next is stored behind it at the earliest (ADR 0028). */
  #end(update: AgentUpdate, ending: Ending, live: LiveLease | undefined): void {
    const { taskId, fence, session: by } = update;
    const frees = live !== undefined && ending.kind === "COMPLETED" ? live : undefined;
    let isFirst = false;
    const hear = (outcome: WordOutcome | Error): void => {
      this.#letGo(update);
      if (outcome instanceof Error) {
        if (isFirst && frees !== undefined) this.#hold(frees);
        this.#drop(outcome);
        return;
      }
      // Of a lease that is over this does nothing. One whose end the database refuses stays.
      if (outcome === "STALE" && frees !== undefined) this.#hold(frees);
      this.#answer(update, outcome);
    };
    try {
      this.#deps.settler.say({ kind: "end", taskId, fence, by, ending, hear, outcome: undefined });
    } catch (error) {
      this.#letGo(update);
      this.#drop(error);
      return;
    }
    isFirst = frees?.agent.freeSlots(frees) === true;
    if (isFirst && frees !== undefined) this.#deps.onReleased(frees.agent);
  }

  #answer({ router, session, taskId, fence }: AgentUpdate, outcome: WordOutcome): void {
    if (outcome === "ELSEWHERE") return;
    this.#parts.dispatch.answer(router, session, { taskId, fence, outcome });
  }

  #hold(live: LiveLease): void {
    if (live.agent.holdSlots(live)) this.#deps.onReleased(live.agent);
  }

  /** An output that is stored apart is bound to the job first, which is open until this very end. */
  #endStored(update: AgentUpdate, output: Payload, live: LiveLease): void {
    usePayloads(this.#parts.pool, usesOf(live.lease.task, [output])).then(
      () => this.#end(update, { kind: "COMPLETED", output }, live),
      (error: unknown) => {
        if (NexusError.is(error, "not_found")) {
          this.#end(update, rejected("OUTPUT_NOT_STORED", error.message), live);
          return;
        }
        this.#letGo(update);
        this.#drop(error);
      },
    );
  }

  /** Its output no longer waits. */
  #letGo({ saying }: AgentUpdate): void {
    this.#endingBytes -= outputBytes(saying);
  }

  /** The lease is over: an agent that goes on is told to stop. */
  #stop({ router, session, taskId, fence }: AgentUpdate): void {
    this.#parts.dispatch.cancel(router, session, { taskId, fence, reason: "LEASE_LOST" });
  }

  #drop(error: unknown): void {
    const full = NexusError.is(error, "exhausted", "QUEUE_FULL");
    this.#parts.events.updateDropped(full ? "queue_full" : "not_owner");
  }
}

type TerminalSaying = Extract<AgentSaying, { kind: "COMPLETED" | "FAILED" | "RELEASED" }>;

function isTerminal(saying: AgentSaying): saying is TerminalSaying {
  return saying.kind === "COMPLETED" || saying.kind === "FAILED" || saying.kind === "RELEASED";
}

function outputBytes(saying: AgentSaying): number {
  return saying.kind === "COMPLETED" ? saying.output.data.byteLength : 0;
}

function isTooLarge({ data }: Payload): boolean {
  return data.byteLength > PAYLOAD_MAX_BYTES;
}

/** What a word comes to, where nobody has to be asked: an output must fit. */
function endingOf(saying: TerminalSaying): Ending {
  if (saying.kind !== "COMPLETED" || !isTooLarge(saying.output)) return saying;
  const { byteLength } = saying.output.data;
  return rejected(
    "OUTPUT_TOO_LARGE",
    `The output has ${byteLength} bytes; at most ${PAYLOAD_MAX_BYTES} are kept.`,
  );
}

function rejected(reason: "OUTPUT_TOO_LARGE" | "OUTPUT_NOT_STORED", message: string): Ending {
  return { kind: "REJECTED", reason, message, word: "COMPLETED" };
}
