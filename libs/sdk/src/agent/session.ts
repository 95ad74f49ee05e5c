import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { AgentSessionService, type ConnectResponse, type Welcome } from "@nexus/proto/mesh";
import { createRpcClient, type RpcChannel, type RpcClient } from "@nexus/rpc/client";
import { backoffDelayMs, type Logger, NEXUS_VERSION, NexusError, sleep } from "@nexus/shared";
import type { CredentialSource } from "../credentials.ts";
import { type Mailbox, MESSAGE_CREDIT } from "./mailbox.ts";
import type { Outbox } from "./outbox.ts";
import type { StateLane } from "./state-lane.ts";
import type { TaskRunner } from "./task-runner.ts";

const RECONNECT = { initialMs: 100, multiplier: 2, maxMs: 5_000, jitter: 0.5 };
/** A session that lived for so long was a good one: after it the backoff begins anew. */
const STABLE_AFTER_MS = 5_000;
const DEFAULT_HEARTBEAT_MS = 5_000;
/** How long the router may take to answer Hello. */
const WELCOME_TIMEOUT_MS = 10_000;
/** After this share of a token's life the session gets a fresh one. */
const REAUTH_AT_LIFE_SHARE = 0.8;
/** How often the token's age is looked at: a renewal that fails is tried again while the old token still lives. */
const REAUTH_CHECK_MAX_MS = 30_000;
/** A bare token cannot be renewed: after these no connection will be let in again. */
const TOKEN_OVER = new Set(["TOKEN_EXPIRED", "TOKEN_REVOKED"]);
/** Each look wakes the process. A loop that is blocked for long is told of, less by at most this. */
const LOOP_DELAY_RESOLUTION_MS = 100;
const SDK = {
  name: "nexus-sdk-typescript",
  version: NEXUS_VERSION,
  runtime: `node ${process.versions.node}`,
};
/** Trying again cannot mend these. */
const FATAL_REASONS = new Set([
  "AGENT_ID_MISMATCH",
  "CREDENTIALS_INVALID",
  "FRAME_INVALID",
  "SCOPE_MISSING",
  "SESSION_SUPERSEDED",
]);

/** What an agent's session needs. */
export interface SessionOptions {
  readonly agentId: string;
  readonly channel: RpcChannel;
  readonly credentials: CredentialSource;
  readonly outbox: Outbox;
  readonly runner: TaskRunner;
  readonly mailbox: Mailbox;
  readonly stateLane: StateLane;
  readonly logger: Logger;
  /** Slots to grant in Hello; read anew for each connection, so that a drain survives a reconnect. */
  readonly slots: () => number;
}

/** An agent's session, kept up over broken streams: reconnects with backoff, resumes its epoch, renews its token,
 * sends heartbeats. */
export class Session {
  /** Resolves when the first Welcome came; rejects when it never will. */
  readonly ready: Promise<void>;
  /** Resolves when the session ended on purpose; rejects with what made going on pointless. */
  readonly ended: Promise<void>;
  readonly #options: SessionOptions;
  readonly #client: RpcClient<typeof AgentSessionService>;
  readonly #stop = new AbortController();
  readonly #loopDelay = monitorEventLoopDelay({ resolution: LOOP_DELAY_RESOLUTION_MS });
  /** Connections that ended since the last one that lived for a while, that one included. */
  #failures = 0;
  #welcomedAtMs = Number.POSITIVE_INFINITY;
  #timers: NodeJS.Timeout[] = [];
  #resumeToken = "";
  /** How the last stream with a welcome ended, if in order. */
  #complete = "";
  #leaving = false;
  #markReady: () => void = () => undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#client = createRpcClient(AgentSessionService, options.channel);
    const welcomed = new Promise<void>((resolve) => {
      this.#markReady = resolve;
    });
    // However it ended, nobody waits for these leases any more: their handlers are told to stop.
    this.ended = this.#keepConnected().finally(() => options.runner.leasesLost());
    this.ready = Promise.race([welcomed, this.ended]);
    // Whoever waits on `ready` or `ended` sees the error; nobody has to.
    this.ready.catch(() => undefined);
    this.ended.catch(() => undefined);
  }

  /** Says goodbye, lets the rest be sent, waits a little for the router to end the stream. */
  async leave(reason: string): Promise<void> {
    this.#leaving = true;
    this.#options.outbox.goodbye(reason);
    this.#options.outbox.close();
    const timer = setTimeout(() => this.#stop.abort(), LEAVE_TIMEOUT_MS);
    await this.ended.catch(() => undefined);
    clearTimeout(timer);
  }

  async #keepConnected(): Promise<void> {
    while (!this.#isLeaving()) {
      try {
        await this.#connectOnce();
      } catch (error) {
        this.#judge(error);
      }
      if (this.#isLeaving()) return;
      this.#failures += 1;
      // Ends early only when leaving, which the loop's head sees.
      await sleep(backoffDelayMs(this.#failures, RECONNECT), this.#stop.signal).catch(
        () => undefined,
      );
    }
  }

  /** Throws what another try cannot mend. */
  #judge(error: unknown): void {
    if (this.#isLeaving()) return;
    const { credentials } = this.#options;
    const { reason } = NexusError.from(error);
    if (FATAL_REASONS.has(reason)) throw error;
    if (!credentials.renewable && TOKEN_OVER.has(reason)) throw error;
    if (reason.startsWith("TOKEN_")) credentials.invalidate();
    // That the next one ends so too, at once, was planned by nobody.
    const level = this.#failures === 0 ? NexusError.levelOfEnd(error) : "warn";
    this.#options.logger[level]({ err: error }, "session interrupted; reconnecting");
  }

  #isLeaving(): boolean {
    return this.#leaving;
  }

  /** One stream, from Hello to its end. What was said meanwhile and found no stream is dropped with it. */
  async #connectOnce(): Promise<void> {
    const { outbox, mailbox, stateLane, credentials } = this.#options;
    const welcomeTimeout = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let complete = "";
    try {
      const token = await credentials.accessToken();
      timer = setTimeout(() => welcomeTimeout.abort(), WELCOME_TIMEOUT_MS);
      const frames = this.#client.connect(outbox.frames({ hello: this.#hello() }), {
        token: token.value,
        signal: AbortSignal.any([this.#stop.signal, welcomeTimeout.signal]),
      });
      for await (const frame of frames) {
        if (frame.welcome !== undefined) {
          clearTimeout(timer);
          this.#welcomed(frame.welcome, token.expiresAtMs);
        }
        complete = frame.complete;
        this.#take(frame);
      }
    } finally {
      clearTimeout(timer);
      // A try without a welcome changes nothing of what the stream before it brought.
      if (Number.isFinite(this.#welcomedAtMs)) this.#complete = complete;
      if (performance.now() - this.#welcomedAtMs >= STABLE_AFTER_MS) this.#failures = 0;
      this.#welcomedAtMs = Number.POSITIVE_INFINITY;
      this.#loopDelay.disable();
      for (const running of this.#timers.splice(0)) clearInterval(running);
      outbox.reset();
      mailbox.connectionLost(complete !== "");
      stateLane.connectionLost();
    }
  }

  #hello() {
    const slots = this.#options.slots();
    // Hello must grant at least one slot; a draining agent takes it back in the next frame.
    if (slots === 0) this.#options.outbox.credit({ slots: 0 });
    return {
      agentId: this.#options.agentId,
      sdk: SDK,
      slots: Math.max(1, slots),
      messageCredit: MESSAGE_CREDIT,
      resumeToken: this.#resumeToken,
      complete: this.#complete,
    };
  }

  #welcomed(welcome: Welcome, tokenExpiresAtMs: number): void {
    this.#welcomedAtMs = performance.now();
    this.#resumeToken = welcome.resumeToken;
    this.#options.mailbox.connected(welcome);
    this.#options.stateLane.connected(welcome.stateCredit);
    if (welcome.resumed) this.#options.runner.resumed();
    else this.#options.runner.leasesLost();
    const interval = welcome.heartbeatInterval;
    const intervalMs = interval ? durationMs(interval) : DEFAULT_HEARTBEAT_MS;
    this.#loopDelay.enable();
    this.#timers.push(startHeartbeats(this.#options, intervalMs, this.#loopDelay));
    this.#timers.push(startReauth(this.#options, tokenExpiresAtMs));
    const { sessionId, resumed } = welcome;
    this.#options.logger.info({ session_id: sessionId, resumed }, "session opened");
    this.#markReady();
  }

  #take(frame: ConnectResponse): void {
    const { runner, mailbox, stateLane } = this.#options;
    if (frame.assignments.length > 0) runner.assign(frame.assignments);
    for (const cancel of frame.cancels) runner.cancel(cancel);
    for (const result of frame.taskUpdateResults) runner.settle(result);
    for (const outcome of frame.sendOutcomes) mailbox.settle(outcome);
    for (const delivery of frame.deliveries) mailbox.deliver(delivery);
    for (const result of frame.subscriptionResults) mailbox.subscribed(result);
    for (const { deliveryId } of frame.deliveryCancels) mailbox.cancelled(deliveryId);
    for (const result of frame.stateResults) stateLane.settle(result);
  }
}

/** How long the router may take to end the stream after a goodbye. */
const LEAVE_TIMEOUT_MS = 2_000;

/** Heartbeats run on their own timer and report how late the event loop is, so that a blocked one is seen. */
function startHeartbeats(
  options: SessionOptions,
  intervalMs: number,
  delay: IntervalHistogram,
): NodeJS.Timeout {
  const beat = () => {
    const lagMs = Math.max(0, delay.max / 1e6 - LOOP_DELAY_RESOLUTION_MS);
    delay.reset();
    const loopLag = durationFromMs(Number.isFinite(lagMs) ? Math.round(lagMs) : 0);
    options.outbox.heartbeat(() => ({ busySlots: options.runner.busySlots, loopLag }));
    options.runner.resendOverdue();
  };
  return setInterval(beat, intervalMs);
}

function startReauth(options: SessionOptions, expiresAtMs: number): NodeJS.Timeout {
  const waitMs = (expiresAtMs - Date.now()) * REAUTH_AT_LIFE_SHARE;
  let knownExpiryMs = expiresAtMs;
  const renew = async () => {
    const token = await options.credentials.accessToken();
    if (token.expiresAtMs === knownExpiryMs) return;
    knownExpiryMs = token.expiresAtMs;
    options.outbox.reauth(token.value);
  };
  const tick = () => {
    renew().catch((error: unknown) => {
      options.logger.warn({ err: error }, "the session's token could not be renewed yet");
    });
  };
  return setInterval(tick, Math.max(1_000, Math.min(REAUTH_CHECK_MAX_MS, waitMs / 4)));
}
