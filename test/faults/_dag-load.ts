/** Clients that play one random graph after the other: submit it, stop or pause it, and when it has ended retry and replay it. */
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Job, JobState, type NexusClient, TaskState, toTaskSpec } from "@nexus/sdk";
import { sleep } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { toldEvents } from "./_append-load.ts";
import { LIVENESS_MS } from "./_bed.ts";
import { type Graph, newGraph, toTasks } from "./_dag-graph.ts";
import {
  type EndedGraph,
  findDisorder,
  findUnlikeModel,
  type GraphEvent,
  keptOf,
} from "./_dag-model.ts";
import { findViolations, type ToldEvent } from "./_history.ts";
import type { Random } from "./_random.ts";

/** What is done to a graph while it runs, in turn. */
const PLAYS = ["let alone", "cancel", "pause", "stopped by itself"] as const;
/** When a graph is cancelled or paused, after it was submitted. */
const MEDDLE_MS_MAX = 200;
const PAUSE_MS_MAX = 300;
/** One in so many that ended is replayed from one of its tasks. */
const REPLAY_ONE_IN = 2;
const PAGE_SIZE = 500;

type Jobs = NexusClient["jobs"];

/** What a load works with. */
export interface DagLoadInit {
  readonly client: NexusClient;
  /** Where it says which graphs are mended. */
  readonly dir: string;
  readonly random: Random;
}

/** A generation as it is read once it has ended. */
interface Told {
  readonly job: Job;
  readonly states: ReadonlyMap<string, TaskState>;
  /** Keys of tasks whose outputs are an earlier generation's. */
  readonly kept: ReadonlySet<string>;
  readonly events: readonly GraphEvent[];
  readonly ends: readonly ToldEvent[];
}

/** Owns what one client has played. */
export class DagLoad {
  readonly counts: Record<string, number> = {};
  readonly problems: string[] = [];
  readonly #jobs: Jobs;
  readonly #init: DagLoadInit;
  #played = 0;

  constructor(init: DagLoadInit) {
    this.#init = init;
    this.#jobs = init.client.jobs;
  }

  /** Plays graphs until it is over, and the last one to its end. The first problem ends it too. */
  async playUntil(isOver: () => boolean): Promise<void> {
    while (!isOver() && this.problems.length === 0) await this.#playOne();
  }

  async #playOne(): Promise<void> {
    const { dir, random } = this.#init;
    const play = PLAYS[this.#played % PLAYS.length] ?? "let alone";
    this.#played += 1;
    const graph = newGraph(random, play === "stopped by itself" ? "vital" : "plain");
    const mended = join(dir, randomUUID());
    const tasks = toTasks(graph, mended).map(toTaskSpec);
    const { job } = await this.#call((requestId, jobs) => jobs.submitJob({ requestId, tasks }));
    const jobId = job?.jobId ?? "";
    if (play === "cancel") await this.#cancel(jobId);
    if (play === "pause") await this.#pause(jobId);
    const first = await this.#judge(graph, jobId, { cancelled: play === "cancel", mended: false });
    this.#countFirst(first, play);
    const isWhole = first.job.state === JobState.COMPLETED;
    if (!isWhole) {
      await writeFile(mended, "");
      await this.#retry(graph, first);
    }
    if (random.between(1, REPLAY_ONE_IN) === 1) await this.#replay(graph, first, !isWhole);
  }

  #countFirst({ job, states }: Told, play: (typeof PLAYS)[number]): void {
    this.#count("graphs");
    const isStopped = [...states.values()].includes(TaskState.CANCELLED);
    if (isStopped) this.#count(play === "cancel" ? "cancelled" : "stopped by a sibling");
    if ([...states.keys()].some((key) => key.includes("#"))) this.#count("mapped");
    this.#count(JobState[job.state].toLowerCase());
  }

  async #cancel(jobId: string): Promise<void> {
    await sleep(this.#init.random.between(0, MEDDLE_MS_MAX));
    await this.#call((requestId, jobs) => jobs.cancelJob({ requestId, jobId }));
  }

  async #pause(jobId: string): Promise<void> {
    const { random } = this.#init;
    await sleep(random.between(0, MEDDLE_MS_MAX));
    const { job } = await this.#call((requestId, jobs) => jobs.pauseJob({ requestId, jobId }));
    if (job?.state === JobState.PAUSED) this.#count("paused");
    await sleep(random.between(0, PAUSE_MS_MAX));
    await this.#call((requestId, jobs) => jobs.resumeJob({ requestId, jobId }));
  }

  /** Nothing is bad any more, so all of it succeeds. */
  async #retry(graph: Graph, before: Told): Promise<void> {
    const { jobId } = before.job;
    const { job } = await this.#call((requestId, jobs) => jobs.retryJob({ requestId, jobId }));
    const told = await this.#judge(graph, job?.jobId ?? "", { cancelled: false, mended: true });
    this.#compareKept(graph, told, keptOf(graph, before.states, undefined));
    this.#count("retried");
  }

  async #replay(graph: Graph, before: Told, mended: boolean): Promise<void> {
    const { key: taskKey } = this.#init.random.pick(graph as [Graph[number]]);
    const { jobId } = before.job;
    const { job } = await this.#call((requestId, jobs) =>
      jobs.replayJob({ requestId, jobId, taskKey }),
    );
    const told = await this.#judge(graph, job?.jobId ?? "", { cancelled: false, mended });
    this.#compareKept(graph, told, keptOf(graph, before.states, taskKey));
    this.#count("replayed");
  }

  #compareKept(graph: Graph, { job, kept }: Told, expected: readonly string[]): void {
    const found = graph.filter(({ key }) => kept.has(key)).map(({ key }) => key);
    if (found.join() === expected.join()) return;
    this.problems.push(`${job.jobId} keeps ${found.join()}, not ${expected.join()}`);
  }

  /** Waits for a generation's end and holds it against the model. */
  async #judge(
    graph: Graph,
    jobId: string,
    situation: Pick<EndedGraph, "cancelled" | "mended">,
  ): Promise<Told> {
    const told = await this.#readEnd(jobId);
    const { job, states, kept, events, ends } = told;
    const tasks = [...states.keys()].filter((key) => !kept.has(key));
    const element = { element: jobId, tasks, acknowledged: [jobId] };
    const problems = [
      ...findUnlikeModel(graph, { state: job.state, states, ...situation }),
      ...findDisorder(graph, events, kept),
      ...findViolations([element], [{ element: jobId, jobId, ended: true, events: ends }]),
    ];
    const { blocked = -1, ready = -1, active = -1, total = -1 } = job.tasks ?? {};
    if (blocked + ready + active !== 0 || total !== states.size) {
      problems.push(`${blocked}, ${ready} and ${active} of ${total} tasks are open at the end`);
    }
    this.problems.push(...problems.map((problem) => `${jobId}: ${problem}`));
    if (problems.length > 0) this.problems.push(`${jobId} is of ${JSON.stringify(graph)}`);
    return told;
  }

  async #readEnd(jobId: string): Promise<Told> {
    const job = await waitFor(
      async () => {
        const found = (await this.#jobs.getJob({ jobId })).job;
        return found?.endTime === undefined ? undefined : found;
      },
      { timeoutMs: 2 * LIVENESS_MS, what: `the end of ${jobId}` },
    );
    const read = async () => {
      const { tasks } = await this.#jobs.listTasks({ jobId, page: { pageSize: PAGE_SIZE } });
      const events: GraphEvent[] = [];
      const ends: ToldEvent[] = [];
      for await (const message of this.#jobs.watchJob({ jobId })) {
        for (const told of message.events) {
          const { event } = told;
          ends.push(...toldEvents(told));
          if (event.case === "jobChanged") events.push({ taskKey: "", state: event.value.state });
          if (event.case === "taskChanged") events.push(event.value);
        }
      }
      const states = new Map(tasks.map(({ spec, state }) => [spec?.key ?? "", state]));
      const reused = tasks.filter(({ reusedFromTaskId }) => reusedFromTaskId !== "");
      return { job, states, events, ends, kept: new Set(reused.map((one) => one.spec?.key ?? "")) };
    };
    return waitFor(read, { timeoutMs: LIVENESS_MS, what: `what is told of ${jobId}` });
  }

  /** Repeats a call under one request id until it is answered. */
  #call<T>(call: (requestId: string, jobs: Jobs) => Promise<T>) {
    const requestId = randomUUID();
    const what = "an answer to a call";
    return waitFor(() => call(requestId, this.#jobs), { timeoutMs: LIVENESS_MS, what });
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}
