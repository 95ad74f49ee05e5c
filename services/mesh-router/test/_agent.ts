/** An agent's end of a session. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  AckKind,
  AgentSessionService,
  type Assignment,
  type CausalChainSchema,
  type ConnectRequestSchema,
  type ConnectResponse,
  type Delivery,
  DeliveryClass,
  DeliveryOutcome,
  type Drain,
  type GatherMode,
  type SendOutcome,
  type StateOpResult,
  type SubscriptionResult,
  type TaskCancel,
  type TaskUpdateResult,
  type Welcome,
} from "@nexus/proto/mesh";
import { createRpcClient, type RpcChannel } from "@nexus/rpc";
import { waitFor } from "@nexus/testkit";
import { TestPeer } from "./_peer.ts";

type AgentFrame = MessageInitShape<typeof ConnectRequestSchema>;

/** What a message may carry beside its id and its receiver. */
export interface PostOptions {
  readonly subject?: string;
  readonly payload?: { readonly contentType: string; readonly data: Uint8Array };
  readonly expectsReply?: boolean;
  readonly inReplyTo?: string;
  readonly timeout?: { readonly seconds: bigint; readonly nanos: number };
  readonly traceparent?: string;
  readonly deliveryClass?: DeliveryClass;
  readonly ttl?: { readonly seconds: bigint; readonly nanos: number };
  readonly ackWait?: { readonly seconds: bigint; readonly nanos: number };
  readonly toCapability?: string;
  readonly toTopic?: string;
  readonly broadcast?: boolean;
  readonly chain?: MessageInitShape<typeof CausalChainSchema>;
  readonly lease?: { readonly taskId: string; readonly fence: bigint };
  readonly gather?: { readonly mode: GatherMode; readonly quorum?: number };
  readonly more?: boolean;
}

/** An agent that does nothing on its own. */
export class TestAgent {
  readonly peer: TestPeer<AgentFrame, ConnectResponse>;
  /** Of the token. */
  agentId = "";
  welcome: Welcome | undefined;
  drain: Drain | undefined;
  /** How the stream ended, if in order. */
  complete = "";
  readonly assignments: Assignment[] = [];
  readonly cancels: TaskCancel[] = [];
  readonly results: TaskUpdateResult[] = [];
  readonly deliveries: Delivery[] = [];
  readonly outcomes: SendOutcome[] = [];
  readonly subscriptionResults: SubscriptionResult[] = [];
  readonly deliveryCancels: string[] = [];
  readonly stateResults: StateOpResult[] = [];
  /** Acknowledges every delivery at once. */
  autoAck = false;

  constructor(channel: RpcChannel, token: string) {
    const client = createRpcClient(AgentSessionService, channel);
    this.peer = new TestPeer(
      (frames, signal) => client.connect(frames, { token, signal }),
      (frame) => {
        this.welcome ??= frame.welcome;
        this.drain ??= frame.drain;
        this.complete ||= frame.complete;
        this.assignments.push(...frame.assignments);
        this.cancels.push(...frame.cancels);
        this.results.push(...frame.taskUpdateResults);
        this.deliveries.push(...frame.deliveries);
        this.outcomes.push(...frame.sendOutcomes);
        this.subscriptionResults.push(...frame.subscriptionResults);
        this.stateResults.push(...frame.stateResults);
        this.deliveryCancels.push(...frame.deliveryCancels.map((one) => one.deliveryId));
        if (this.autoAck && frame.deliveries.length > 0) {
          this.send({ acks: frame.deliveries.map(({ deliveryId }) => ({ deliveryId })) });
        }
      },
    );
  }

  send(frame: AgentFrame): void {
    this.peer.send(frame);
  }

  async welcomed(): Promise<Welcome> {
    await waitFor(() => this.welcome !== undefined || this.peer.ended, { what: "the welcome" });
    if (this.welcome === undefined) throw this.peer.error ?? new Error("ended without a welcome");
    return this.welcome;
  }

  get epoch(): bigint {
    return this.welcome?.epoch ?? 0n;
  }

  get resumeToken(): string {
    return this.welcome?.resumeToken ?? "";
  }

  /** Sends one message. */
  post(messageId: string, toAgentId: string, more: PostOptions = {}) {
    const payload = { contentType: "text/plain", data: new TextEncoder().encode(messageId) };
    this.send({ sends: [{ messageId, toAgentId, payload, ...more }] });
  }

  /** Sends one durable message. */
  mail(messageId: string, toAgentId: string, more: PostOptions = {}) {
    this.post(messageId, toAgentId, { deliveryClass: DeliveryClass.DURABLE, ...more });
  }

  /** Subscribes and waits until it holds. */
  async subscribe(pattern: string, more: { group?: string; durable?: boolean } = {}) {
    const before = this.subscriptionResults.length;
    this.send({ subscribes: [{ pattern, ...more }] });
    const result = await waitFor(() => this.subscriptionResults[before], {
      what: `the subscription to ${pattern}`,
    });
    return result.reason;
  }

  /** Says a word about a delivery. */
  ack(deliveryId: string, kind = AckKind.DONE, message = ""): void {
    this.send({ acks: [{ deliveryId, kind, message }] });
  }

  /** The ids of the durable messages delivered so far, in order. */
  get mailIds(): string[] {
    return this.deliveries.filter(({ messageId }) => messageId !== "").map((one) => one.messageId);
  }

  async delivery(index = 0): Promise<Delivery> {
    return waitFor(() => this.deliveries[index], { what: `delivery ${index}` });
  }

  /** The answer to the state operation of this number. */
  async stateResult(number: number): Promise<StateOpResult> {
    return waitFor(() => this.stateResults.find((result) => result.number === number), {
      what: `the answer to operation ${number}`,
    });
  }

  async outcomeOf(messageId: string): Promise<SendOutcome> {
    return waitFor(() => this.outcomes.find((outcome) => outcome.messageId === messageId), {
      what: `the outcome of ${messageId}`,
    });
  }
}

/** The name of an outcome, for readable failures. */
export function outcomeName(outcome: SendOutcome | undefined): string {
  return outcome === undefined ? "none" : (DeliveryOutcome[outcome.outcome] ?? "unknown");
}
