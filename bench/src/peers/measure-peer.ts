/** How many jobs a second a peer completes when there is always more to do: the load that our own tasks get. */
import { setTimeout as wait } from "node:timers/promises";
import { forkWorker, type Worker } from "../bed/worker.ts";
import { monotonicMs } from "../machine-clock.ts";
import type { Stretch } from "../pace.ts";
import { BULK_JOBS, type PeerCommands, type PeerPlace } from "./peer-commands.ts";

const POLL_MS = 100;
const FIRST_WITHIN_MS = 60_000;

/** What to measure, and how. */
export interface PeerOptions extends Stretch {
  /** The program of src/processes. */
  readonly program: string;
  readonly place: PeerPlace;
  /** Jobs that are added and not completed, kept up ten times a second. */
  readonly backlog: number;
  /** Has every process write a CPU profile into this folder. */
  readonly profileDir: string | undefined;
}

/** A measured peer. */
export interface PeerRate {
  readonly perSecond: number;
  readonly jobs: number;
  readonly tookMs: number;
}

/** Starts a peer's two processes, keeps a backlog for them, and ends them.
 *
 * A job counts when the peer's own store holds it as completed. Errors: an Error when no job was completed within a minute. */
export async function measurePeer(options: PeerOptions): Promise<PeerRate> {
  const { program, place, warmUpMs, measureMs, profileDir } = options;
  const fork = (role: string) =>
    forkWorker<PeerCommands>(program, { name: `${program}-${role}`, profileDir });
  const adder = fork("adder");
  const worker = fork("worker");
  try {
    await adder.call("open", place);
    const feed = new Feed(adder, worker, options.backlog);
    await feed.fill();
    await worker.call("work", place);
    await feed.untilFirst();
    await feed.keepFull(warmUpMs);
    const first = await feed.read();
    const last = await feed.untilMore(first.completed, measureMs);
    const jobs = last.completed - first.completed;
    const tookMs = last.atMs - first.atMs;
    await worker.call("close", null);
    await adder.call("close", null);
    return { perSecond: (jobs / tookMs) * 1_000, jobs, tookMs };
  } finally {
    await Promise.all([adder.stop(), worker.stop()]);
  }
}

/** How far a peer is. */
interface Reading {
  readonly completed: number;
  readonly atMs: number;
}

/** Keeps a number of jobs waiting, as JobStream does for our own tasks. */
class Feed {
  readonly #adder: Worker<PeerCommands>;
  readonly #worker: Worker<PeerCommands>;
  readonly #backlog: number;
  #added = 0;

  constructor(adder: Worker<PeerCommands>, worker: Worker<PeerCommands>, backlog: number) {
    this.#adder = adder;
    this.#worker = worker;
    this.#backlog = backlog;
  }

  /** Adds what the worker has taken since the last time, in whole bulks. */
  async fill(): Promise<void> {
    const open = this.#added - (await this.#worker.call("handled", null));
    const count = Math.floor((this.#backlog - open) / BULK_JOBS) * BULK_JOBS;
    if (count <= 0) return;
    await this.#adder.call("add", count);
    this.#added += count;
  }

  /** A worker that starts on a busy machine takes as long as it takes. It is fed meanwhile: one that had run dry would wait to ask again. */
  async untilFirst(): Promise<void> {
    const giveUpAtMs = monotonicMs() + FIRST_WITHIN_MS;
    while ((await this.#worker.call("handled", null)) === 0) {
      if (monotonicMs() > giveUpAtMs) throw new Error("no job was handled in a minute");
      await this.keepFull(POLL_MS);
    }
  }

  async keepFull(forMs: number): Promise<void> {
    const untilMs = monotonicMs() + forMs;
    while (monotonicMs() < untilMs) {
      await wait(Math.min(POLL_MS, Math.max(0, untilMs - monotonicMs())));
      await this.fill();
    }
  }

  /** Measures for so long, and on where nothing was completed meanwhile: a short measurement on a busy machine. */
  async untilMore(completed: number, forMs: number): Promise<Reading> {
    const giveUpAtMs = monotonicMs() + forMs + FIRST_WITHIN_MS;
    for (;;) {
      await this.keepFull(forMs);
      const reading = await this.read();
      if (reading.completed > completed) return reading;
      if (monotonicMs() > giveUpAtMs) throw new Error("no job was completed in a minute");
    }
  }

  /** Jobs completed so far. Nothing is being added meanwhile, so what is not left is done. */
  async read(): Promise<Reading> {
    const askedAtMs = monotonicMs();
    const remaining = await this.#adder.call("remaining", null);
    return { completed: this.#added - remaining, atMs: (askedAtMs + monotonicMs()) / 2 };
  }
}
