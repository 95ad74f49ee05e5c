import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { PayloadSchema } from "@nexus/proto/common";
import {
  AssignmentSchema,
  ConnectResponseSchema,
  DeliveryOutcome,
  DispatchRequestSchema,
  DispatchResponseSchema,
  SessionState,
  TaskCancelSchema,
  TaskUpdateResultSchema,
  TaskUpdateSchema,
} from "@nexus/proto/mesh";
import { WireWriter } from "@nexus/rpc";
import { describe, expect, it } from "vitest";
import { Caller } from "../../domain/message/caller.ts";
import { Message } from "../../domain/message/message.ts";
import type { AgentBatch } from "../../domain/message/outbox.ts";
import { Session } from "../../domain/session/session.ts";
import { writeAgentFrame } from "./agent-response.ts";
import { readOrchestratorFrame } from "./dispatch-frame.ts";
import { writeOrchestratorFrame } from "./orchestrator-response.ts";

const NOW_MS = 1_700_000_000_500;
const writer = new WireWriter();
const validator = createValidator();
const BOB = { namespace: "default", agentId: "bob", epoch: 7n };
const empty = (): AgentBatch => ({
  assignments: [],
  cancels: [],
  results: [],
  deliveries: [],
  leftOut: 0,
  outcomes: [],
  notes: [],
  drain: undefined,
});
const session = new Session({
  namespace: "default",
  agentId: "bob",
  epoch: 2n ** 40n,
  sessionId: "ses_1",
  resumeHash: new Uint8Array(),
  slots: 3,
  nowMs: NOW_MS,
});

function message(payloadSize: number, more: object = {}): Message {
  const payload = create(PayloadSchema, {
    contentType: "text/plain",
    data: new Uint8Array(payloadSize),
  });
  const letter = {
    messageId: "m1",
    toAgentId: "bob",
    payload: toBinary(PayloadSchema, payload),
    subject: Buffer.from("grüße"),
    expectsReply: true,
    inReplyTo: "",
    timeoutMs: 1_500,
    traceparent: Buffer.from("00-x"),
    ...more,
  };
  return new Message({
    deliveryId: "p.1",
    letter,
    sender: new Caller("default", "ursula"),
    receiver: session,
    nowMs: NOW_MS,
    expiresAtMs: NOW_MS + 1_500,
    inReplyTo: "ürsprung",
  });
}

function agentFrame(batch: AgentBatch, nowMs = NOW_MS): Buffer {
  writeAgentFrame(writer, batch, nowMs);
  return writer.take();
}

describe("writeAgentFrame", () => {
  it("writes what the contract's parser reads back", () => {
    const assignment = create(AssignmentSchema, { taskId: "t1", fence: 5n, jobId: "j" });
    const cancel = create(TaskCancelSchema, { taskId: "t2", fence: 6n, reason: "LEASE_LOST" });
    const result = create(TaskUpdateResultSchema, { taskId: "t3", fence: 7n, outcome: 1 });
    const bytes = agentFrame(
      {
        ...empty(),
        assignments: [{ taskId: "t1", fence: 5n, bytes: toBinary(AssignmentSchema, assignment) }],
        cancels: [{ taskId: "t2", fence: 6n, bytes: toBinary(TaskCancelSchema, cancel) }],
        results: [toBinary(TaskUpdateResultSchema, result)],
        deliveries: [message(300)],
        outcomes: [
          { messageId: "ö", outcome: "overloaded", text: "später", retryAfterMs: 1_250 },
          { messageId: "m2", outcome: "delivered", text: "" },
          { messageId: "m3", outcome: "refused", text: "no", reason: "R", failureReason: "WHY" },
        ],
        drain: { reason: "stop", reconnectWithinMs: 30_000 },
      },
      NOW_MS + 1,
    );
    expect(fromBinary(ConnectResponseSchema, bytes)).toMatchObject({
      assignments: [assignment],
      cancels: [cancel],
      taskUpdateResults: [result],
      deliveries: [
        {
          deliveryId: "p.1",
          fromPrincipalId: "ursula",
          subject: "grüße",
          expectsReply: true,
          inReplyTo: "ürsprung",
          timeout: { seconds: 1n, nanos: 499_000_000 },
          acceptTime: { seconds: 1_700_000_000n, nanos: 500_000_000 },
          traceparent: "00-x",
          payload: { contentType: "text/plain" },
        },
      ],
      sendOutcomes: [
        {
          messageId: "ö",
          outcome: DeliveryOutcome.OVERLOADED,
          message: "später",
          retryAfter: { seconds: 1n, nanos: 250_000_000 },
        },
        { messageId: "m2", outcome: DeliveryOutcome.DELIVERED, message: "" },
        { messageId: "m3", reason: "R", failureReason: "WHY" },
      ],
      drain: { reason: "stop", reconnectWithin: { seconds: 30n } },
    });
  });

  it("grows for frames larger than its buffer and forgets them afterwards", () => {
    const deliveries = Array.from({ length: 20 }, () => message(200_000, { expectsReply: false }));
    const large = agentFrame({ ...empty(), deliveries });
    const parsed = fromBinary(ConnectResponseSchema, large);
    expect(parsed.deliveries.map(({ payload }) => payload?.data.length)).toEqual(
      Array.from({ length: 20 }, () => 200_000),
    );
    const small = agentFrame({ ...empty(), deliveries: [message(1)] });
    expect(fromBinary(ConnectResponseSchema, small).deliveries).toHaveLength(1);
  });
});

describe("writeOrchestratorFrame", () => {
  it("writes sessions, updates and refusals", () => {
    const update = create(TaskUpdateSchema, {
      taskId: "t1",
      fence: 5n,
      update: { case: "accepted", value: {} },
    });
    const bytes = toBinary(TaskUpdateSchema, update);
    const routed = {
      session,
      update: { taskId: "t1", fence: 5n, kind: "accepted" as const, bytes },
    };
    const ref = { namespace: "default", agentId: "bob", epoch: 2n ** 40n };
    const frame = writeOrchestratorFrame(
      writer,
      {
        sessions: [{ session, slots: 2 }],
        snapshotComplete: true,
        updates: [routed, routed],
        refusals: [{ session: ref, taskId: "t9", fence: 9n, reason: "NO_SESSION" }],
      },
      "router-a",
    );
    expect(fromBinary(DispatchResponseSchema, frame)).toMatchObject({
      routerId: "router-a",
      snapshotComplete: true,
      sessions: [{ session: ref, state: SessionState.DETACHED, slots: 2 }],
      updates: [
        { session: ref, update },
        { session: ref, update },
      ],
      refusals: [{ session: ref, taskId: "t9", fence: 9n, reason: "NO_SESSION" }],
    });
  });
});

describe("readOrchestratorFrame", () => {
  it("reads addresses and leases, and carries the rest byte for byte", () => {
    const ref = { namespace: "default", agentId: "bob", epoch: 7n };
    const assignment = create(AssignmentSchema, {
      taskId: "t1",
      fence: 5n,
      input: { contentType: "text/plain", data: new Uint8Array([1]) },
      upstream: { a: { contentType: "x", data: new Uint8Array([2]) } },
      timeout: { seconds: 30n },
    });
    const bytes = toBinary(
      DispatchRequestSchema,
      create(DispatchRequestSchema, {
        orchestratorId: "o-1",
        assignments: [{ session: ref, assignment }],
        cancels: [{ session: ref, cancel: { taskId: "t2", fence: 6n, reason: "JOB_CANCELLED" } }],
        updateResults: [{ session: ref, result: { taskId: "t3", fence: 7n, outcome: 2 } }],
        demands: [{ session: ref, wanted: true, held: 3 }, { session: ref }],
      }),
    );
    const frame = readOrchestratorFrame(Buffer.from(bytes));
    expect(frame.orchestratorId).toBe("o-1");
    expect(frame.assignments).toMatchObject([{ to: ref, order: { taskId: "t1", fence: 5n } }]);
    const carried = Uint8Array.from(frame.assignments[0]?.order.bytes ?? []);
    expect(fromBinary(AssignmentSchema, carried)).toMatchObject(assignment);
    expect(frame.cancels).toMatchObject([{ to: ref, order: { taskId: "t2", fence: 6n } }]);
    expect(frame.demands).toEqual([
      { to: ref, demand: { wanted: true, held: 3 } },
      { to: ref, demand: { wanted: false, held: 0 } },
    ]);
    const result = fromBinary(TaskUpdateResultSchema, frame.results[0]?.result ?? new Uint8Array());
    expect(result).toMatchObject({ taskId: "t3", fence: 7n, outcome: 2 });
  });

  it("refuses lists above 512 and names above 128 characters", () => {
    const encode = (init: object) =>
      Buffer.from(toBinary(DispatchRequestSchema, create(DispatchRequestSchema, init)));
    const many = Array.from({ length: 513 }, () => ({}));
    for (const list of ["assignments", "cancels", "updateResults", "demands"]) {
      expect(() => readOrchestratorFrame(encode({ [list]: many }))).toThrow("512");
    }
    expect(() => readOrchestratorFrame(encode({ orchestratorId: "o".repeat(129) }))).toThrow("128");
    expect(() => readOrchestratorFrame(encode({ demands: [{ held: -1 }] }))).toThrow("held");
  });

  it.each([
    ["namespace", { session: { ...BOB, namespace: "" } }],
    ["namespace", { session: { ...BOB, namespace: "n".repeat(65) } }],
    ["agent_id", { session: { ...BOB, agentId: "" } }],
    ["agent_id", { session: { ...BOB, agentId: "a".repeat(129) } }],
    ["epoch", { session: { ...BOB, epoch: 0n } }],
    ["epoch", { session: { ...BOB, epoch: -1n } }],
    ["task_id", { cancel: { taskId: "", fence: 1n } }],
    ["task_id", { cancel: { taskId: "t".repeat(65), fence: 1n } }],
    ["fence", { cancel: { taskId: "t", fence: 0n } }],
    ["fence", { cancel: { taskId: "t", fence: -1n } }],
  ])("refuses a wrong %s, as the contract does: %o", (what, wrong) => {
    const good = { session: BOB, cancel: { taskId: "t", fence: 1n } };
    const cancels = [{ ...good, ...wrong }];
    const frame = create(DispatchRequestSchema, { orchestratorId: "o", cancels });
    const bytes = Buffer.from(toBinary(DispatchRequestSchema, frame));
    expect(() => readOrchestratorFrame(bytes)).toThrow(what);
    expect(validator.validate(DispatchRequestSchema, frame).kind).toBe("invalid");
  });
});
