import { create, toBinary } from "@bufbuild/protobuf";
import { type DispatchRequest, DispatchRequestSchema } from "@nexus/proto/mesh";
import { describe, expect, it } from "vitest";
import { readOrchestratorFrame } from "./dispatch-frame.ts";

type FrameInit = Parameters<typeof create<typeof DispatchRequestSchema>>[1];

function read(frame: FrameInit) {
  const message: DispatchRequest = create(DispatchRequestSchema, frame);
  return readOrchestratorFrame(Buffer.from(toBinary(DispatchRequestSchema, message)));
}

const session = (index: number, epoch = 1n) => ({
  namespace: "default",
  agentId: `agent-${index}`,
  epoch,
});

describe("readOrchestratorFrame", () => {
  it("reads each item with the session that it names, however many there are", () => {
    const indices = Array.from({ length: 40 }, (_, index) => (index * 7) % 13);
    const { assignments, results } = read({
      assignments: indices.map((index) => ({
        session: session(index, BigInt(1 + (index % 2))),
        assignment: { taskId: `task-${index}`, fence: 5n, slotCost: index },
      })),
      updateResults: indices.map((index) => ({
        session: session(index),
        result: { taskId: `task-${index}`, fence: 5n },
      })),
    });
    expect(assignments.map(({ to }) => to)).toEqual(
      indices.map((index) => session(index, BigInt(1 + (index % 2)))),
    );
    expect(assignments.map(({ order }) => [order.taskId, order.fence, order.slots])).toEqual(
      indices.map((index) => [`task-${index}`, 5n, Math.max(1, index)]),
    );
    expect(results.map(({ to }) => to)).toEqual(indices.map((index) => session(index)));
  });

  it("passes assignments, cancels and results on as they came", () => {
    const assignment = { taskId: "t", fence: 300n, taskKey: "k", traceparent: "00-1-2-01" };
    const { assignments, cancels, results, demands } = read({
      assignments: [{ session: session(1), assignment }],
      cancels: [{ session: session(1), cancel: { taskId: "t", fence: 7n, reason: "WHY" } }],
      updateResults: [{ session: session(1), result: { taskId: "t", fence: 8n, outcome: 1 } }],
      demands: [{ session: session(2), wanted: true, held: 3 }],
    });
    const frame = create(DispatchRequestSchema, {
      assignments: [{ assignment }],
      cancels: [{ cancel: { taskId: "t", fence: 7n, reason: "WHY" } }],
      updateResults: [{ result: { taskId: "t", fence: 8n, outcome: 1 } }],
    });
    const carried = [assignments[0]?.order.bytes, cancels[0]?.order.bytes, results[0]?.result];
    const whole = Buffer.from(toBinary(DispatchRequestSchema, frame));
    for (const bytes of carried) expect(whole.includes(Buffer.from(bytes ?? "none"))).toBe(true);
    expect(cancels[0]?.order).toMatchObject({ taskId: "t", fence: 7n, slots: 1 });
    expect(demands).toEqual([{ to: session(2), demand: { wanted: true, held: 3 } }]);
  });

  it("refuses an item whose session, task or fence is missing", () => {
    const assignment = { taskId: "t", fence: 1n };
    const nobody = { namespace: "default", agentId: "", epoch: 1n };
    const item = (order: Partial<typeof assignment>) => ({
      assignments: [
        { session: session(1), assignment },
        { session: session(1), assignment: order },
      ],
    });
    expect(() => read({ assignments: [{ session: nobody, assignment }] })).toThrow(/agent_id/);
    expect(() => read(item({ fence: 1n }))).toThrow(/task_id/);
    expect(() => read(item({ taskId: "t" }))).toThrow(/fence/);
  });
});
