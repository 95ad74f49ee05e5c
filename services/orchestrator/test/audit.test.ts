/** Entries of the audit log, committed with what they are about, once however many replicas a call passes. */
import { fromBinary } from "@bufbuild/protobuf";
import { type AuditEntry, AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { JobState } from "@nexus/proto/orchestrator";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Harness, STEADY_LEASE_MS, textOf } from "./_harness.ts";

const ids = createIds();
const JOBS = 8;
const harness = new Harness();

/** Nobody takes the entries, so they stay to be looked at. */
beforeAll(() => harness.open({ leaseMs: STEADY_LEASE_MS }));
afterAll(() => harness.close());
beforeEach(() => harness.db.query("DELETE FROM audit_outbox"));

async function entries(): Promise<AuditEntry[]> {
  const { rows } = await harness.db.query<{ draft: Buffer }>(
    "SELECT draft FROM audit_outbox ORDER BY entry_no",
  );
  return rows.map(({ draft }) => fromBinary(AuditEntrySchema, draft));
}

const methodOf = ({ action }: AuditEntry): string => action.split("/")[1] ?? "";
const later = () => harness.submit({ tasks: [{ key: "only", capability: "never-there" }] });

describe("changes of jobs", () => {
  it("leave one entry each, with the job and who asked", async () => {
    const { client } = harness;
    const jobId = await later();
    await client.pauseJob({ requestId: ids.next(), jobId });
    await client.resumeJob({ requestId: ids.next(), jobId });
    await client.cancelJob({ requestId: ids.next(), jobId, reason: "not needed" });
    const { job } = await client.retryJob({ requestId: ids.next(), jobId });
    await client.cancelJob({ requestId: ids.next(), jobId: job?.jobId ?? "" });
    await client.redriveDeadLetters({ requestId: ids.next(), filter: { reason: "NONE" } });
    const found = await entries();
    expect(found.map((entry) => [methodOf(entry), entry.resource])).toEqual([
      ["SubmitJob", jobId],
      ["PauseJob", jobId],
      ["ResumeJob", jobId],
      ["CancelJob", jobId],
      ["RetryJob", jobId],
      ["CancelJob", job?.jobId],
      ["RedriveDeadLetters", ""],
    ]);
    for (const entry of found) {
      expect(entry).toMatchObject({
        service: "orchestrator",
        actor: "alice",
        namespace: "default",
        result: AuditResult.ALLOWED,
      });
    }
    const fields = (entry?: AuditEntry) => entry?.fields.map(({ name, value }) => [name, value]);
    expect(fields(found[0])).toEqual([["tasks", "[1]"]]);
    expect(fields(found[3])).toEqual([["reason", "not needed"]]);
    expect(fields(found[4])).toEqual([["new_job_id", job?.jobId]]);
  });

  it("keep no objective and no input", async () => {
    const secret = "canary-5d1f";
    const input = { contentType: "text/plain", data: Buffer.from(secret) };
    await harness.client.submitJob({ requestId: ids.next(), objective: secret });
    const { job } = await harness.client.submitJob({
      requestId: ids.next(),
      labels: { note: secret },
      tasks: [{ key: "only", capability: "never-there", input }],
    });
    const { tasks } = await harness.client.listTasks({ jobId: job?.jobId ?? "" });
    const { task } = await harness.client.getTask({ taskId: tasks[0]?.taskId ?? "" });
    expect(textOf(task?.spec?.input)).toBe(secret);
    const { rows } = await harness.db.query<{ draft: Buffer }>("SELECT draft FROM audit_outbox");
    expect(rows.length).toBe(2);
    for (const { draft } of rows) expect(draft.includes(secret)).toBe(false);
  });

  it("of a repetition name the job that there is, of a failure none", async () => {
    const { client } = harness;
    const tasks = [{ key: "only", capability: "never-there" }];
    const submit = { requestId: ids.next(), tasks };
    const { job } = await client.submitJob(submit);
    await client.submitJob(submit);
    const other = { requestId: submit.requestId, tasks, objective: "another" };
    await expect(client.submitJob(other)).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    const jobId = job?.jobId ?? "";
    await expect(client.retryJob({ requestId: ids.next(), jobId })).rejects.toMatchObject({
      reason: "JOB_NOT_ENDED",
    });
    await client.cancelJob({ requestId: ids.next(), jobId });
    const retry = { requestId: ids.next(), jobId };
    const again = (await client.retryJob(retry)).job?.jobId;
    await client.retryJob(retry);
    const found = (await entries()).filter((entry) => methodOf(entry) !== "CancelJob");
    expect(
      found.map(({ resource, fields }) => [
        resource,
        fields.find(({ name }) => name === "new_job_id")?.value,
      ]),
    ).toEqual([
      [jobId, undefined],
      [jobId, undefined],
      ["", undefined],
      [jobId, undefined],
      [jobId, again],
      [jobId, again],
    ]);
  });

  it("leave an entry of a repetition, and of a call that fails", async () => {
    const jobId = await later();
    const cancel = { requestId: ids.next(), jobId };
    await harness.client.cancelJob(cancel);
    await harness.client.cancelJob(cancel);
    const reader = await harness.clientOf("reader", { scopes: ["orchestrator:job:read"] });
    await expect(reader.cancelJob(cancel)).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
    const open = { requestId: ids.next(), jobId: await later() };
    await expect(harness.client.retryJob(open)).rejects.toMatchObject({ reason: "JOB_NOT_ENDED" });
    const found = (await entries()).filter((entry) => methodOf(entry) !== "SubmitJob");
    expect(found).toMatchObject([
      { requestId: cancel.requestId, result: AuditResult.ALLOWED },
      { requestId: cancel.requestId, result: AuditResult.ALLOWED },
      { actor: "reader", result: AuditResult.DENIED, reason: "SCOPE_MISSING" },
      { actor: "alice", result: AuditResult.FAILED, reason: "JOB_NOT_ENDED" },
    ]);
  });

  it("change nothing while no entry can be written, and say so in time", async () => {
    const jobId = await later();
    await harness.db.query("ALTER TABLE audit_outbox RENAME TO hidden");
    const options = { timeoutMs: 20_000 };
    const outcomes = await Promise.allSettled([
      harness.client.cancelJob({ requestId: ids.next(), jobId }, options),
      harness.client.submitJob(
        { requestId: ids.next(), tasks: [{ key: "only", capability: "never-there" }] },
        options,
      ),
    ]);
    const jobs = await harness.count("jobs");
    await harness.db.query("ALTER TABLE hidden RENAME TO audit_outbox");
    for (const outcome of outcomes) expect(outcome.status).toBe("rejected");
    expect(await harness.count("jobs")).toBe(jobs);
    const { job } = await harness.client.getJob({ jobId });
    expect(job?.state).toBe(JobState.PENDING);
    await harness.client.cancelJob({ requestId: ids.next(), jobId });
  });

  it("leave one entry although another replica than the asked one makes them", async () => {
    const service = await harness.start({ leaseMs: STEADY_LEASE_MS });
    const other = await harness.clientOf("alice", { service });
    await waitFor(() => harness.isReady(service), { what: "the second replica" });
    await waitFor(
      async () =>
        (await harness.count("shard_owners WHERE owner IS NOT NULL GROUP BY owner")) === 32,
      { what: "even shares" },
    );
    const jobIds: string[] = [];
    for (let index = 0; index < JOBS; index++) jobIds.push(await later());
    for (const client of [harness.client, other]) {
      for (const jobId of jobIds) await client.pauseJob({ requestId: ids.next(), jobId });
    }
    const refused = await Promise.allSettled(
      [harness.client, other].flatMap((client) =>
        jobIds.map((jobId) => client.retryJob({ requestId: ids.next(), jobId })),
      ),
    );
    expect(new Set(refused.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    const found = await entries();
    const countOf = (method: string) => found.filter((entry) => methodOf(entry) === method).length;
    expect(countOf("PauseJob")).toBe(2 * JOBS);
    expect(countOf("RetryJob")).toBe(2 * JOBS);
    expect(new Set(found.map(({ actor }) => actor))).toEqual(new Set(["alice"]));
  });
});
