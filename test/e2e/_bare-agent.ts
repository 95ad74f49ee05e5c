/** An agent written by hand, frame by frame, so that it can say what an SDK never would. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AgentSessionService,
  type Assignment,
  type ConnectRequestSchema,
  type ConnectResponse,
  type TaskUpdateOutcome,
  type TaskUpdateSchema,
} from "@nexus/proto/mesh";
import { RegistryService } from "@nexus/proto/registry";
import { AuthService } from "@nexus/proto/vault";
import { createRpcClient, type RpcChannel } from "@nexus/rpc";
import { type AsyncQueue, createAsyncQueue } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import type { TestFleet } from "./_fleet.ts";

const FRAMES_MAX = 100;
const ANSWER_TIMEOUT_MS = 10_000;

/** What an agent needs to work and to read the secrets of one folder. */
export const BARE_SCOPES = ["registry:agent:*", "mesh:*:*", "vault:secret:read", "secret:app:read"];

/** A frame that an agent sends. */
export type Frame = MessageInitShape<typeof ConnectRequestSchema>;

/** What an agent may say about a lease. */
export type Saying = NonNullable<MessageInitShape<typeof TaskUpdateSchema>["update"]>;

/** What a word is said under. */
export type HeldLease = Pick<Assignment, "taskId" | "fence">;

/** Makes an identity and registers it with one capability; returns its token. */
export async function registerBareAgent(
  fleet: TestFleet,
  channel: RpcChannel,
  agentId: string,
  capability: string,
): Promise<string> {
  const { clientSecret } = await fleet.createAgentIdentity(agentId, BARE_SCOPES);
  const auth = createRpcClient(AuthService, channel);
  const { tokens } = await auth.grantClientToken({ principalId: agentId, clientSecret });
  const token = tokens?.accessToken ?? "";
  const registry = createRpcClient(RegistryService, channel);
  const capabilities = [{ name: capability, version: "1.0.0" }];
  await registry.registerAgent({ requestId: agentId, agentId, capabilities }, { token });
  return token;
}

/** Who connects, and how. */
export interface BareAgentOptions {
  readonly agentId: string;
  readonly token: string;
  /** Of the session to go on with. @default a new session */
  readonly resumeToken?: string;
}

/** Owns one stream, and keeps all that came by it. */
export class BareAgent {
  readonly frames: ConnectResponse[] = [];
  readonly ended: Promise<unknown>;
  readonly #out: AsyncQueue<Frame> = createAsyncQueue<Frame>({ max: FRAMES_MAX });
  readonly #abort = new AbortController();

  constructor(channel: RpcChannel, { agentId, token, resumeToken = "" }: BareAgentOptions) {
    const hello = { agentId, slots: 1, messageCredit: 10, resumeToken };
    this.#out.push({ hello });
    const client = createRpcClient(AgentSessionService, channel);
    const frames = client.connect(this.#out, { token, signal: this.#abort.signal });
    this.ended = this.#read(frames);
  }

  async #read(frames: AsyncIterable<ConnectResponse>): Promise<unknown> {
    try {
      for await (const frame of frames) this.frames.push(frame);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  send(frame: Frame): void {
    this.#out.push(frame);
  }

  /** Says something about a lease, whether or not it is this agent's. */
  say({ taskId, fence }: HeldLease, update: Saying): void {
    this.send({ taskUpdates: [{ taskId, fence, update }] });
  }

  accept(lease: HeldLease): void {
    this.say(lease, { case: "accepted", value: {} });
  }

  /** Ends a task with this text, which is JSON. */
  complete(lease: HeldLease, text = "1"): void {
    const output = { contentType: "application/json", data: new TextEncoder().encode(text) };
    this.say(lease, { case: "completed", value: { output } });
  }

  cut(): void {
    this.#abort.abort();
  }

  async welcome() {
    const found = () => this.frames.find((frame) => frame.welcome !== undefined)?.welcome;
    return waitFor(found, { timeoutMs: ANSWER_TIMEOUT_MS, what: "a welcome" });
  }

  async assignment(timeoutMs = ANSWER_TIMEOUT_MS): Promise<Assignment> {
    const found = () => this.frames.flatMap((frame) => frame.assignments)[0];
    return waitFor(found, { timeoutMs, what: "an assignment" });
  }

  async outcome(): Promise<TaskUpdateOutcome> {
    const found = () => this.frames.flatMap((frame) => frame.taskUpdateResults)[0];
    return (await waitFor(found, { timeoutMs: ANSWER_TIMEOUT_MS, what: "a result" })).outcome;
  }
}
