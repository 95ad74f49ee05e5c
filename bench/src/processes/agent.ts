/** An agent of the bench, as a process of its own: does nothing, and notes when it was told to. */
import process from "node:process";
import { createAgent, createClient, type RunningAgent } from "@nexus/sdk";
import {
  type MessageLatency,
  type MessageOptions,
  type MessageRate,
  NOTE_SUBJECT,
  REQUEST_SUBJECT,
  sendSaturated,
  sendSteadily,
} from "../load/messages.ts";
import {
  getSaturated,
  putSaturated,
  putSteadily,
  type StateLatency,
  type StateOptions,
  type StateRate,
  type StateUser,
  StateWatch,
  type WatchEnd,
} from "../load/state.ts";
import { CAPABILITY, CAPABILITY_VERSION, LISTENER } from "../load/tasks.ts";
import { monotonicMs } from "../machine-clock.ts";
import type { Distribution } from "../statistics.ts";
import { serveCommands } from "./command-channel.ts";

/** Arrivals kept; a measurement of more is cut, and the bench notices that some are missing. */
const ARRIVALS_MAX = 1_000_000;

/** Who the agent is. */
export interface AgentIdentity {
  readonly gateway: string;
  readonly agentId: string;
  readonly clientSecret: string;
  readonly slots: number;
  /** One of those who take messages for any one of them. */
  readonly listens: boolean;
}

/** When tasks arrived. */
export interface Arrivals {
  readonly taskIds: readonly string[];
  /** By monotonicMs(), as the handler began. */
  readonly atMs: readonly number[];
}

/** A topic to follow. */
export interface TopicWish {
  readonly topic: string;
  readonly durable: boolean;
}

/** What an agent process can be told. */
export interface AgentCommands {
  /** Registers and opens the session. */
  start(identity: AgentIdentity): Promise<void>;
  /** Begins to note arrivals. */
  noteArrivals(args: null): Promise<void>;
  /** Returns what was noted and stops noting. */
  takeArrivals(args: null): Promise<Arrivals>;
  /** Subscribes for as long as the process lives: what is in the mailbox at the end of a measurement has a handler then. */
  followTopic(wish: TopicWish): Promise<void>;
  /** How many notes the handlers of this process took in. */
  takenIn(args: null): Promise<number>;
  sendSaturated(options: MessageOptions & { readonly inFlight: number }): Promise<MessageRate>;
  sendSteadily(
    options: MessageOptions & { readonly perSecond: number; readonly what: "note" | "request" },
  ): Promise<MessageLatency>;
  putSaturated(options: StateOptions & { readonly inFlight: number }): Promise<StateRate>;
  putSteadily(options: StateOptions & { readonly perSecond: number }): Promise<StateLatency>;
  getSaturated(options: StateOptions & { readonly inFlight: number }): Promise<StateRate>;
  /** Has commands about state reach this mesh-router by themselves, as a client with this token. */
  useMeshRouter(place: { readonly address: string; readonly token: string }): Promise<void>;
  /** Begins to follow a bucket. */
  watchState(bucket: string): Promise<void>;
  /** Waits for the changes that are expected, and says how old they were when they came, in milliseconds. */
  endWatch(end: WatchEnd): Promise<Distribution>;
  /** CPU seconds of this process since its start. */
  cpuSeconds(args: null): Promise<number>;
  /** Closes the session. */
  leave(args: null): Promise<void>;
}

let agent: RunningAgent | undefined;
let elsewhere: StateUser["state"] | undefined;
let watch: StateWatch | undefined;
let notes = 0;
let arrivals: { taskIds: string[]; atMs: number[] } | undefined;

function takeNote(): void {
  notes += 1;
}

function running(): RunningAgent {
  if (agent === undefined) throw new Error("the agent was not started");
  return agent;
}

function stateUser(): StateUser {
  const { agentId, state } = running();
  return { agentId, state: elsewhere ?? state };
}

serveCommands<AgentCommands>({
  start: async ({ gateway, agentId, clientSecret, slots, listens }) => {
    const builder = createAgent({ gateway, agentId, clientSecret, slots })
      .capability(`${CAPABILITY}@${CAPABILITY_VERSION}`, {}, (ctx) => {
        if (arrivals !== undefined && arrivals.atMs.length < ARRIVALS_MAX) {
          arrivals.atMs.push(monotonicMs());
          arrivals.taskIds.push(ctx.task.taskId);
        }
        return { done: true };
      })
      .onMessage(NOTE_SUBJECT, takeNote)
      .onMessage(REQUEST_SUBJECT, ({ body }) => body);
    if (listens) builder.capability(`${LISTENER}@1.0.0`, {}, () => ({ done: true }));
    agent = await builder.start();
  },
  noteArrivals: async () => {
    arrivals = { taskIds: [], atMs: [] };
  },
  takeArrivals: async () => {
    const taken = arrivals ?? { taskIds: [], atMs: [] };
    arrivals = undefined;
    return taken;
  },
  followTopic: async ({ topic, durable }) => {
    await running().subscribe(topic, takeNote, { durable });
  },
  takenIn: async () => notes,
  sendSaturated: (options) => sendSaturated(running(), options),
  sendSteadily: (options) => sendSteadily(running(), options),
  putSaturated: (options) => putSaturated(stateUser(), options),
  putSteadily: (options) => putSteadily(stateUser(), options),
  getSaturated: (options) => getSaturated(stateUser(), options),
  useMeshRouter: async ({ address, token }) => {
    const credentials = { kind: "token", accessToken: token } as const;
    elsewhere = createClient({ gateway: address, credentials });
  },
  watchState: async (bucket) => {
    watch = new StateWatch(stateUser(), bucket);
  },
  endWatch: async (end) => {
    if (watch === undefined) throw new Error("no bucket is followed");
    return watch.end(end);
  },
  cpuSeconds: async () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
  leave: async () => {
    await agent?.drain(0);
  },
});
