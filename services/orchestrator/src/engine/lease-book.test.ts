import { describe, expect, it } from "vitest";
import type { LiveLease } from "./agent-entry.ts";
import { addAgent, fakeFleet, fakeLease } from "./engine.fake.ts";
import { LeaseBook } from "./lease-book.ts";

const agent = addAgent(fakeFleet(), "a", { slots: 10 });

function leaseUntil(deadlineAtMs: number): LiveLease {
  return { ...fakeLease(agent, 1n), deadlineAtMs };
}

describe("LeaseBook", () => {
  it("counts no slots for a lease whose agent is done with it, and gives them back once", () => {
    const book = new LeaseBook();
    const [done, going] = [leaseUntil(100), leaseUntil(100)];
    for (const lease of [done, going]) book.add(lease);
    expect(agent.leasedSlots).toBe(2);
    agent.freeSlots(done);
    agent.freeSlots(done);
    expect(agent.leasedSlots).toBe(1);
    expect(agent.leases.size).toBe(2);
    for (const { lease } of [done, going]) book.remove(lease.task.taskId);
    expect(agent.leasedSlots).toBe(0);
  });

  it("finds what is overdue, the longest first, and no more than asked for", () => {
    const book = new LeaseBook();
    const [late, later, latest] = [leaseUntil(300), leaseUntil(200), leaseUntil(100)];
    for (const lease of [late, later, latest, leaseUntil(1_000)]) book.add(lease);
    expect(book.overdue(99, 10)).toEqual([]);
    expect(book.overdue(100, 10)).toEqual([latest]);
    expect(book.overdue(300, 2)).toEqual([latest, later]);
  });

  it("finds it again until it is removed, and then what comes next", () => {
    const book = new LeaseBook();
    const [first, second] = [leaseUntil(100), leaseUntil(200)];
    book.add(first);
    book.add(second);
    expect(book.overdue(150, 10)).toEqual([first]);
    expect(book.overdue(150, 10)).toEqual([first]);
    book.remove(first.lease.task.taskId);
    expect(book.overdue(150, 10)).toEqual([]);
    expect(book.overdue(200, 10)).toEqual([second]);
  });

  it("finds a lease that is added with an earlier deadline than all others", () => {
    const book = new LeaseBook();
    book.add(leaseUntil(1_000));
    expect(book.overdue(500, 10)).toEqual([]);
    const early = leaseUntil(400);
    book.add(early);
    expect(book.overdue(500, 10)).toEqual([early]);
    book.clear();
    expect(book.overdue(2_000, 10)).toEqual([]);
  });

  it("counts leases by job", () => {
    const book = new LeaseBook();
    book.add(leaseUntil(1));
    book.add(leaseUntil(2));
    expect([...book.countByJob()]).toEqual([["job_1", 2]]);
  });
});
