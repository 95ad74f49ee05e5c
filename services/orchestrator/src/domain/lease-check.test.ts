import { describe, expect, it } from "vitest";
import {
  judgeClaim,
  LEASE_CACHE_MAX_MS,
  LEASE_OVER_CACHE_MS,
  type LeaseClaim,
  type LeaseStanding,
} from "./lease-check.ts";

const CLAIM: LeaseClaim = { namespace: "default", taskId: "task_1", fence: 7n, agentId: "ann" };
const LIVE = {
  kind: "live",
  namespace: "default",
  agentId: "ann",
  jobId: "job_1",
  remainingMs: 60_000,
} as const;

const CASES: readonly {
  readonly what: string;
  readonly claim?: Partial<LeaseClaim>;
  readonly standing: LeaseStanding;
  readonly expected: object;
}[] = [
  {
    what: "believes the holder, for the longest time that a stale one may go on",
    standing: LIVE,
    expected: {
      reason: undefined,
      cacheForMs: LEASE_CACHE_MAX_MS,
      agentId: "ann",
      jobId: "job_1",
    },
  },
  {
    what: "never lets an answer outlive the lease",
    standing: { ...LIVE, remainingMs: 12.9 },
    expected: { reason: undefined, cacheForMs: 12 },
  },
  {
    what: "takes a lease past its deadline for lost",
    standing: { ...LIVE, remainingMs: 0 },
    expected: { reason: "LEASE_LOST", cacheForMs: 0, agentId: "" },
  },
  {
    what: "asks for no holder when the claim names none",
    claim: { agentId: "" },
    standing: LIVE,
    expected: { reason: undefined, agentId: "ann" },
  },
  {
    what: "refuses another agent",
    claim: { agentId: "bob" },
    standing: LIVE,
    expected: { reason: "NOT_HOLDER", cacheForMs: LEASE_CACHE_MAX_MS, agentId: "", jobId: "" },
  },
  {
    what: "lets what is over be remembered, since a fence never comes back",
    standing: { kind: "over", namespace: "default" },
    expected: { reason: "LEASE_LOST", cacheForMs: LEASE_OVER_CACHE_MS },
  },
  {
    what: "lets nothing be remembered of a fence that may be granted yet",
    standing: { kind: "unknown", namespace: "default" },
    expected: { reason: "LEASE_LOST", cacheForMs: 0 },
  },
  {
    what: "hides another namespace's task",
    claim: { namespace: "other" },
    standing: LIVE,
    expected: { reason: "TASK_NOT_FOUND", cacheForMs: 0, agentId: "", jobId: "" },
  },
  {
    what: "knows no task that is not there",
    standing: { kind: "no_task" },
    expected: { reason: "TASK_NOT_FOUND", cacheForMs: 0 },
  },
];

describe("judgeClaim", () => {
  for (const { what, claim, standing, expected } of CASES) {
    it(what, () => {
      expect(judgeClaim({ ...CLAIM, ...claim }, standing)).toMatchObject(expected);
    });
  }
});
