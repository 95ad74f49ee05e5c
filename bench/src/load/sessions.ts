/** Agents that are connected and do nothing but say that they live. */
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  AgentSessionService,
  type ConnectRequestSchema,
  type ConnectResponse,
} from "@nexus/proto/mesh";
import { createRpcChannel, createRpcClient, type RpcChannel } from "@nexus/rpc/client";
import { type NexusClient, PrincipalKind } from "@nexus/sdk";
import { type AsyncQueue, createAsyncQueue, withDeadline } from "@nexus/shared";
import { monotonicMs } from "../machine-clock.ts";

/** A connection to the gateway carries a thousand streams. */
const CONNECTIONS = 16;
/** A hello, a heartbeat and a goodbye; nothing else is ever said. */
const FRAMES_WAITING_MAX = 4;
const HEARTBEAT_DEFAULT_MS = 5_000;
const WELCOME_TIMEOUT_MS = 30_000;
const LEAVE_TIMEOUT_MS = 30_000;

/** How many, and how many at once on their way. */
export interface SessionsOptions {
  readonly gateway: string;
  readonly sessions: number;
  readonly inFlight: number;
}

/** How many are there, and why the first one is over that nobody ended. */
export interface SessionCount {
  readonly alive: number;
  readonly failure: string | undefined;
}

type Frame = MessageInitShape<typeof ConnectRequestSchema>;

/** Sessions of as many agents, each with a token of its own. */
export class IdleSessions {
  readonly #channel: RpcChannel;
  readonly #alive = new Set<IdleSession>();
  #failure: string | undefined;

  constructor(gateway: string) {
    this.#channel = createRpcChannel({ address: gateway, connections: CONNECTIONS });
  }

  count(): SessionCount {
    return { alive: this.#alive.size, failure: this.#failure };
  }

  /** Makes the agents, then opens their sessions. Returns how many of these a second; one that does not open is not counted.
   *
   * Errors: those of the calls. */
  async open(admin: NexusClient, options: SessionsOptions): Promise<number> {
    const { sessions, inFlight } = options;
    const tokens: [agentId: string, token: string][] = [];
    await inLanes(sessions, inFlight, async () => {
      tokens.push(await createAgent(admin));
    });
    const beganAtMs = monotonicMs();
    await inLanes(sessions, inFlight, async (index) => {
      const [agentId, token] = tokens[index] ?? ["", ""];
      await this.#openOne(agentId, token);
    });
    return (this.#alive.size / (monotonicMs() - beganAtMs)) * 1_000;
  }

  /** Says goodbye for all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#alive].map((session) => session.leave()));
    this.#channel.close();
  }

  async #openOne(agentId: string, token: string): Promise<void> {
    const session = new IdleSession(this.#channel, agentId, token);
    this.#alive.add(session);
    const ended = session.ended.then((failure) => {
      this.#alive.delete(session);
      this.#failure ??= failure;
    });
    try {
      await withDeadline(Promise.race([session.welcomed, ended]), WELCOME_TIMEOUT_MS);
    } catch {
      this.#failure ??= "no welcome came";
      this.#alive.delete(session);
      session.break();
    }
  }
}

class IdleSession {
  readonly #frames: AsyncQueue<Frame> = createAsyncQueue({ max: FRAMES_WAITING_MAX });
  /** Resolves when the router knows it. */
  readonly welcomed: Promise<void>;
  /** Resolves when it is over: with why, unless it left. */
  readonly ended: Promise<string | undefined>;
  readonly #cut = new AbortController();
  #heartbeats: NodeJS.Timeout | undefined;
  #leaving = false;

  constructor(channel: RpcChannel, agentId: string, token: string) {
    let welcome: () => void = () => undefined;
    this.welcomed = new Promise((resolve) => {
      welcome = resolve;
    });
    this.#frames.push({ hello: { agentId, slots: 1 } });
    const client = createRpcClient(AgentSessionService, channel);
    const answers = client.connect(this.#frames, { token, signal: this.#cut.signal });
    this.ended = this.#follow(answers, welcome);
  }

  async leave(): Promise<void> {
    this.#leaving = true;
    this.#frames.push({ goodbye: {} });
    this.#frames.end();
    try {
      await withDeadline(this.ended, LEAVE_TIMEOUT_MS);
    } catch {
      this.break();
    }
  }

  /** Ends it without a word. */
  break(): void {
    this.#cut.abort();
  }

  async #follow(
    answers: AsyncIterable<ConnectResponse>,
    welcome: () => void,
  ): Promise<string | undefined> {
    try {
      for await (const { welcome: word } of answers) {
        if (word === undefined) continue;
        welcome();
        const { heartbeatInterval } = word;
        const intervalMs =
          heartbeatInterval === undefined ? HEARTBEAT_DEFAULT_MS : durationMs(heartbeatInterval);
        this.#heartbeats = setInterval(() => this.#frames.push({ heartbeat: {} }), intervalMs);
      }
      return this.#leaving ? undefined : "the router ended it";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      clearInterval(this.#heartbeats);
    }
  }
}

async function createAgent(admin: NexusClient): Promise<[agentId: string, token: string]> {
  const principalId = `bench-idle-${randomUUID()}`;
  const { clientSecret } = await admin.principals.createPrincipal({
    requestId: randomUUID(),
    principalId,
    kind: PrincipalKind.AGENT,
  });
  const { tokens } = await admin.auth.grantClientToken({ principalId, clientSecret });
  return [principalId, tokens?.accessToken ?? ""];
}

/** Does something so many times, so many at once; after a failure nothing more is begun. */
async function inLanes(
  times: number,
  lanes: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    try {
      while (next < times) await work(next++);
    } finally {
      next = times;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}
