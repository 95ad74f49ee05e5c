/** Hands calls about a job to the replica that owns it, so that a caller may call any. */
import { type CallContext, type CallOptions, relayOptions } from "@nexus/rpc";
import { backoffDelayMs, NexusError, sleep } from "@nexus/shared";
import type { HandlerDeps, Peer } from "./deps.ts";

/** Marks a call that was handed on: who gets it serves it or refuses it, so that no call travels in circles. */
const HANDED_ON = "x-nexus-handed-on";
/** How long a call looks for an owner. A silent replica loses its shards in less, unless its lease was set longer. */
const SEARCH_MAX_MS = 8_000;
/** How often a call that was handed on looks whether it waits at the right place. */
const FOLLOW_INTERVAL_MS = 200;
const SEARCH = { initialMs: 25, multiplier: 2, maxMs: 400, jitter: 0.2 };

/** A call that the owner of a job or task serves. */
export interface OwnedCall<T> {
  /** The job or task; undefined for a new job, which any replica with shards takes. */
  readonly id: string | undefined;
  readonly local: () => T;
  readonly remote: (peer: Peer, options: CallOptions) => T;
}

/** Serves a call here or at the owner. What it does must be safe to repeat: reads, and mutations with a request id.
 *
 * Errors: those of the call; unavailable/NOT_OWNER when no owner was found in time. */
export async function atOwner<T>(
  deps: HandlerDeps,
  ctx: CallContext,
  call: OwnedCall<Promise<T>>,
): Promise<T> {
  const search = new Search(deps, ctx);
  for (;;) {
    try {
      return await search.follow(search.place(call));
    } catch (error) {
      await search.again(error);
    }
  }
}

/** Serves a stream here or at the owner, and goes on with it at the next owner when that changes. `resume` makes the call from
 * where the stream stands.
 *
 * Errors: as atOwner(). */
export async function* streamAtOwner<T>(
  deps: HandlerDeps,
  ctx: CallContext,
  resume: () => OwnedCall<AsyncIterable<T>>,
): AsyncGenerator<T> {
  const search = new Search(deps, ctx);
  for (;;) {
    try {
      for await (const message of search.place(resume())) {
        search.found();
        yield message;
      }
      return;
    } catch (error) {
      await search.again(error);
    } finally {
      search.stopFollowing();
    }
  }
}

/** One call's search for its owner. */
class Search {
  readonly #deps: HandlerDeps;
  readonly #ctx: CallContext;
  readonly #handedOn: boolean;
  #startedAtMs = performance.now();
  #failures = 0;
  /** The last try was ended here, because its owner is none any more. */
  #abandoned = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: HandlerDeps, ctx: CallContext) {
    this.#deps = deps;
    this.#ctx = ctx;
    this.#handedOn = ctx.metadata.get(HANDED_ON) !== undefined;
  }

  /** Makes the call where the owner is thought to be. */
  place<T>(call: OwnedCall<T>): T {
    const { engine, peer } = this.#deps;
    this.stopFollowing();
    engine.assertServing();
    this.#abandoned = false;
    const here = call.id === undefined ? engine.ownsAny : engine.owns(call.id);
    // Whoever serves the call enters it into the audit log.
    this.#ctx.audit?.servedBy(here ? "self" : "another");
    if (here) return call.local();
    const { ring } = engine;
    const address = call.id === undefined ? ring.anyOther() : ring.addressOf(call.id);
    if (this.#handedOn || address === undefined) throw ownerUnknown();
    const owner = peer(address);
    const moved = this.#whenMoved(call.id, address);
    const signal = AbortSignal.any([this.#ctx.signal, moved]);
    const relayed = relayOptions(this.#ctx);
    const metadata = { ...relayed.metadata, [HANDED_ON]: "1" };
    return call.remote(owner, { ...relayed, signal, metadata });
  }

  /** Waits for an answer. What waits here for a database that does not answer is given up: asked again, another replica finds
   * out whether it was stored. */
  follow<T>(answer: Promise<T>): Promise<T> {
    const { ring } = this.#deps.engine;
    return new Promise<T>((resolve, reject) => {
      this.#timer ??= setInterval(() => {
        if (ring.isCutOff) reject(ownerUnknown());
      }, FOLLOW_INTERVAL_MS);
      answer.then(resolve, reject);
    }).finally(() => this.stopFollowing());
  }

  stopFollowing(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** An owner that is stopped never answers, and never says that it is none any more; the ring does. */
  #whenMoved(id: string | undefined, address: string): AbortSignal {
    const { ring } = this.#deps.engine;
    const moved = new AbortController();
    this.#timer = setInterval(() => {
      const there = id === undefined ? ring.hasReplicaAt(address) : ring.addressOf(id) === address;
      if (there) return;
      this.#abandoned = true;
      moved.abort();
    }, FOLLOW_INTERVAL_MS);
    return moved.signal;
  }

  /** The owner answers: the next search begins anew. */
  found(): void {
    this.#startedAtMs = performance.now();
    this.#failures = 0;
  }

  /** Waits a moment and looks at the ring again; throws what cannot be helped by that. */
  async again(error: unknown): Promise<void> {
    const { engine } = this.#deps;
    const moved = this.#abandoned || NexusError.is(error, "unavailable");
    const late = performance.now() - this.#startedAtMs >= SEARCH_MAX_MS;
    if (!moved || this.#handedOn || this.#ctx.signal.aborted) throw error;
    // Without the database there is nothing to look at: another replica may have it.
    if (late || engine.ring.isCutOff) throw this.#abandoned ? ownerUnknown() : error;
    this.#failures += 1;
    await sleep(backoffDelayMs(this.#failures, SEARCH), this.#ctx.signal);
    // Without the database nothing can be looked up; the next try says so.
    await engine.ring.refresh().catch(() => undefined);
  }
}

function ownerUnknown(): NexusError {
  return new NexusError({
    kind: "unavailable",
    reason: "NOT_OWNER",
    message: "No replica is known to own this job at the moment; try again.",
  });
}
