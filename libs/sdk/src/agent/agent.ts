import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { RegisterAgentRequestSchema, RegistryService } from "@nexus/proto/registry";
import { createRpcClient, type RpcChannel } from "@nexus/rpc/client";
import { backoffDelayMs, createLogger, type Logger, NexusError, sleep } from "@nexus/shared";
import { type CredentialSource, createCredentialSource } from "../credentials.ts";
import { type GatewayTls, openGatewayChannel } from "../gateway-channel.ts";
import { createStateAccess } from "../state/bucket.ts";
import type { State } from "../state/state.ts";
import {
  type Capability,
  type CapabilityOptions,
  createCapability,
  type TaskHandler,
} from "./capability.ts";
import { Mailbox } from "./mailbox.ts";
import type { MessageHandler, Messenger, SubscribeOptions } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Session } from "./session.ts";
import { StateLane } from "./state-lane.ts";
import { createTaskPayloads } from "./task-payloads.ts";
import { TaskRunner } from "./task-runner.ts";
import { createSecretReader } from "./task-secrets.ts";
import type { Topic } from "./topic.ts";

/** What createAgent needs. */
export interface AgentOptions {
  /** Equals the agent's principal id. */
  readonly agentId: string;
  /** The gateway's gRPC address, `host:port`. */
  readonly gateway: string;
  /** For a gateway that speaks TLS; left out: plaintext. */
  readonly tls?: GatewayTls | undefined;
  /** The secret that came with the principal, or a ready-made access token. */
  readonly clientSecret?: string;
  readonly accessToken?: string;
  readonly namespace?: string;
  readonly displayName?: string;
  /** How many tasks to run at once; default 1. A task may take several slots (TaskSpec.slot_cost). */
  readonly slots?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly region?: string;
  /** Default: pino on standard error at level `warn`. */
  readonly logger?: Logger;
}

/** Collects what an agent can do, then starts it. */
export interface AgentBuilder {
  /** Adds a capability, `name@version`. An agent has at least one, also when it only sends and listens. */
  capability<I = unknown, O = unknown>(
    spec: string,
    options: CapabilityOptions,
    handler: TaskHandler<I, O>,
  ): AgentBuilder;
  /** Handles messages with this subject; `*` takes what nothing else does. */
  onMessage(subject: string, handler: MessageHandler): AgentBuilder;
  /** Subscribes to a topic, or to a pattern; see Messenger.subscribe. */
  subscribe<T>(
    topic: string | Topic<T>,
    handler: MessageHandler<T>,
    options?: SubscribeOptions,
  ): AgentBuilder;
  /** Registers the agent and opens its session; waits for the gateway if it is not there yet.
   *
   * Errors: whatever makes trying again pointless, e.g. unauthenticated/CREDENTIALS_INVALID; invalid/CAPABILITY_MISSING. */
  start(): Promise<RunningAgent>;
}

/** An agent that takes work. */
export interface RunningAgent extends AsyncDisposable, Messenger {
  readonly agentId: string;
  /** Shared state. In a task use the task's own one. */
  readonly state: State;
  /** Tasks in hand. */
  readonly running: number;
  /** Takes nothing new, finishes what it has, gives back what is left after `graceMs`, says goodbye. */
  drain(graceMs?: number): Promise<void>;
  /** Drains on SIGTERM or SIGINT (a second signal gives everything back at once); resolves when the agent ended.
   * Rejects when the session cannot go on, for example because another process took it over. */
  runUntilSignal(graceMs?: number): Promise<void>;
}

const DRAIN_GRACE_MS = 30_000;
/** How long the ends of released tasks may take to be committed. */
const SETTLE_TIMEOUT_MS = 3_000;
const REGISTER_RETRY = { initialMs: 200, multiplier: 2, maxMs: 5_000, jitter: 0.5 };

/** Begins the description of an agent.
 *
 * @example
 * const agent = await createAgent({ agentId, gateway, clientSecret })
 *   .capability("text.upper@1.0.0", {}, (_ctx, text: string) => text.toUpperCase())
 *   .start();
 * await agent.runUntilSignal();
 */
export function createAgent(options: AgentOptions): AgentBuilder {
  const capabilities = new Map<string, Capability>();
  const messageHandlers: [string, MessageHandler][] = [];
  const subscriptions: ((messenger: Messenger) => Promise<unknown>)[] = [];
  const builder: AgentBuilder = {
    capability: (spec, capabilityOptions, handler) => {
      const capability = createCapability(spec, capabilityOptions, handler);
      capabilities.set(capability.spec, capability);
      return builder;
    },
    onMessage: (subject, handler) => {
      messageHandlers.push([subject, handler]);
      return builder;
    },
    subscribe: (topic, handler, how) => {
      subscriptions.push((messenger) => messenger.subscribe(topic, handler, how));
      return builder;
    },
    start: () => start(options, capabilities, { messageHandlers, subscriptions }),
  };
  return builder;
}

/** What an agent listens to. */
interface Listeners {
  readonly messageHandlers: readonly (readonly [string, MessageHandler])[];
  readonly subscriptions: readonly ((messenger: Messenger) => Promise<unknown>)[];
}

async function start(
  options: AgentOptions,
  capabilities: ReadonlyMap<string, Capability>,
  listeners: Listeners,
): Promise<RunningAgent> {
  const logger = (
    options.logger ?? createLogger({ service: "agent", level: "warn", destination: process.stderr })
  ).child({ agent_id: options.agentId });
  const channel = openGatewayChannel(options.gateway, options.tls);
  try {
    if (capabilities.size === 0) throw noCapability();
    const credentials = createCredentialSource({ channel, credentials: credentialsOf(options) });
    await register({ options, capabilities, channel, credentials, logger });
    return await connect({ options, capabilities, ...listeners, channel, credentials, logger });
  } catch (error) {
    channel.close();
    throw error;
  }
}

/** Checked here, where it can be said in the program's words, and before anybody is asked. */
function noCapability(): NexusError {
  return new NexusError({
    kind: "invalid",
    reason: "CAPABILITY_MISSING",
    message:
      "An agent needs a capability, also one that only sends and listens: call .capability() before .start().",
  });
}

function credentialsOf(options: AgentOptions) {
  if (options.accessToken !== undefined) {
    return { kind: "token", accessToken: options.accessToken } as const;
  }
  if (options.clientSecret === undefined || options.clientSecret === "") {
    const message = "An agent needs a clientSecret or an accessToken.";
    throw new NexusError({ kind: "invalid", reason: "CREDENTIALS_MISSING", message });
  }
  return {
    kind: "client-secret",
    principalId: options.agentId,
    clientSecret: options.clientSecret,
    ...(options.namespace === undefined ? {} : { namespace: options.namespace }),
  } as const;
}

interface Connection {
  readonly options: AgentOptions;
  readonly capabilities: ReadonlyMap<string, Capability>;
  readonly channel: RpcChannel;
  readonly credentials: CredentialSource;
  readonly logger: Logger;
}

/** Registers, and waits for a control plane that is not there yet. */
async function register({ options, capabilities, channel, ...rest }: Connection): Promise<void> {
  const registry = createRpcClient(RegistryService, channel, { tokens: rest.credentials });
  const request = create(RegisterAgentRequestSchema, {
    requestId: randomUUID(),
    agentId: options.agentId,
    displayName: options.displayName ?? "",
    labels: { ...options.labels },
    region: options.region ?? "",
    slots: options.slots ?? 1,
    capabilities: [...capabilities.values()].map((capability) => ({
      name: capability.name,
      version: capability.version,
      description: capability.options.description ?? "",
      inputSchema: schemaText(capability.options.input),
      outputSchema: schemaText(capability.options.output),
      tags: [...(capability.options.tags ?? [])],
      costMicros: BigInt(capability.options.costMicros ?? 0),
    })),
  });
  for (let attempt = 1; ; attempt += 1) {
    try {
      await registry.registerAgent(request);
      return;
    } catch (error) {
      const { kind } = NexusError.from(error);
      if (kind !== "unavailable" && kind !== "deadline") throw error;
      const { gateway } = options;
      const { reason, message } = NexusError.from(error);
      rest.logger.warn(
        { gateway, reason, cause: NexusError.rootCause(error), attempt },
        `not registered yet, trying again: ${message}`,
      );
      await sleep(backoffDelayMs(attempt, REGISTER_RETRY));
    }
  }
}

function schemaText(schema: Readonly<Record<string, unknown>> | undefined): string {
  return schema === undefined ? "" : JSON.stringify(schema);
}

async function connect(connection: Connection & Listeners): Promise<RunningAgent> {
  const { options, logger } = connection;
  const outbox = new Outbox();
  const mailbox = new Mailbox({ outbox, logger });
  for (const [subject, handler] of connection.messageHandlers) mailbox.on(subject, handler);
  const readSecret = createSecretReader(connection.channel, connection.credentials);
  const stateLane = new StateLane(outbox);
  const stateOf = createStateAccess(connection.channel, connection.credentials, stateLane);
  const payloads = createTaskPayloads(connection.channel, connection.credentials);
  const runner = new TaskRunner({ ...connection, outbox, mailbox, readSecret, stateOf, payloads });
  let slots = options.slots ?? 1;
  const { agentId } = options;
  const session = new Session({
    ...connection,
    agentId,
    outbox,
    runner,
    mailbox,
    stateLane,
    slots: () => slots,
  });

  let draining: Promise<void> | undefined;
  async function drain(graceMs: number): Promise<void> {
    slots = 0;
    outbox.credit({ slots: 0 });
    await settledWithin(runner.idle(), graceMs);
    runner.releaseAll("draining");
    await settledWithin(runner.idle(), SETTLE_TIMEOUT_MS);
    await session.leave("drained");
    connection.channel.close();
  }
  const drainOnce = (graceMs = DRAIN_GRACE_MS) => {
    draining ??= drain(graceMs);
    return draining;
  };

  const subscribed = connection.subscriptions.map((subscribe) => subscribe(mailbox.messenger()));
  try {
    await Promise.all([session.ready, ...subscribed]);
  } catch (error) {
    // The session may be up, with tasks: nobody would end it later.
    await drainOnce(0);
    throw error;
  }

  return {
    agentId,
    state: stateOf(),
    get running() {
      return runner.running;
    },
    ...mailbox.messenger(),
    drain: drainOnce,
    runUntilSignal: (graceMs) => runUntilSignal(session.ended, () => drainOnce(graceMs), runner),
    [Symbol.asyncDispose]: () => drainOnce(),
  };
}

async function runUntilSignal(
  ended: Promise<void>,
  drain: () => Promise<void>,
  runner: { releaseAll(message: string): void },
): Promise<void> {
  let drained: Promise<void> | undefined;
  const onSignal = () => {
    if (drained === undefined) drained = drain();
    else runner.releaseAll("stopped by a second signal");
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  try {
    await ended;
    await drained;
  } finally {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  }
}

/** Waits at most `ms`; running out of time is an answer here, not an error. */
async function settledWithin(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, timeout]);
  clearTimeout(timer);
}
