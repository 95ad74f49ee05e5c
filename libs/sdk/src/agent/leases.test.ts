import { create } from "@bufbuild/protobuf";
import { AssignmentSchema } from "@nexus/proto/mesh";
import { describe, expect, it } from "vitest";
import { Lease } from "./lease.ts";
import { Leases } from "./leases.ts";

const lease = (taskId: string, fence: bigint) =>
  new Lease(create(AssignmentSchema, { taskId, fence }), Number.POSITIVE_INFINITY);

describe("Leases", () => {
  it("finds a lease by its task and its fence, and by nothing less", () => {
    const leases = new Leases();
    const [first, other] = [lease("a", 1n), lease("b", 1n)];
    leases.add(first);
    leases.add(other);
    expect(leases.get({ taskId: "a", fence: 1n })).toBe(first);
    expect(leases.get({ taskId: "b", fence: 1n })).toBe(other);
    expect(leases.get({ taskId: "a", fence: 2n })).toBeUndefined();
    expect(leases.has(lease("a", 1n))).toBe(false);
    expect(leases.take({ taskId: "a", fence: 2n })).toBeUndefined();
    expect(leases.size).toBe(2);
  });

  it.each([
    [1n, 2n, 3n],
    [2n, 3n, 1n],
    [3n, 1n, 2n],
    [3n, 2n, 1n],
  ])("holds several leases of a task until each is taken (%s, %s, %s)", (...order) => {
    const leases = new Leases();
    for (const fence of [1n, 2n, 3n]) leases.add(lease("a", fence));
    const left = new Set([1n, 2n, 3n]);
    for (const fence of order) {
      expect(leases.take({ taskId: "a", fence })?.assignment.fence).toBe(fence);
      left.delete(fence);
      expect(new Set(leases.values().map(({ assignment }) => assignment.fence))).toEqual(left);
      expect(leases.size).toBe(left.size);
    }
    expect(leases.take({ taskId: "a", fence: 1n })).toBeUndefined();
  });
});
