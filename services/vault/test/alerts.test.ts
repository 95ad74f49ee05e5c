/** Alerts on what is unusual in the audit log: found once, kept, joined, watched and acknowledged. */
import { AlertSeverity, AnomalyKind } from "@nexus/proto/vault";
import { createIds } from "@nexus/shared";
import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judgeFirstSeen } from "../src/domain/anomaly/first-seen.ts";
import { createAlertJournal } from "../src/store/alert-journal.ts";
import { entriesOf, fieldsOf, sequenced } from "./_audit.ts";
import { createUser, login, outcome, requestId } from "./_helpers.ts";
import { openPairSuite, type PairSuite } from "./_suite.ts";

/** More than any name may fail. */
const GUESSES = 12;

let { vault, other, admin, pool, close } = {} as PairSuite;

beforeAll(async () => {
  ({ vault, other, admin, pool, close } = await openPairSuite({ lockoutFailures: 100 }));
});

afterAll(() => close());

async function guess(name: string): Promise<void> {
  for (let index = 0; index < GUESSES; index++) {
    await outcome(login(index % 2 === 0 ? vault : other, name, "not the password, no"));
  }
}

const alertsOf = (replica = vault) =>
  replica.anomalies.listAlerts({ kind: AnomalyKind.FAILED_LOGINS }, admin);

/** Waits until every replica has examined everything. */
async function examined(): Promise<void> {
  await sequenced(pool);
  await waitFor(
    async () => {
      const { rows } = await pool.query<{ done: boolean }>(
        `SELECT next_leaf = (SELECT max(tree_size) FROM audit_checkpoints) AS done FROM anomaly_state`,
      );
      return rows[0]?.done === true;
    },
    { what: "the log to be examined" },
  );
}

describe("an alert", () => {
  it("is raised once by any number of replicas, with what it goes by", async () => {
    await guess("victim");
    await waitFor(async () => (await alertsOf()).alerts.length > 0, { what: "the alert" });
    await examined();
    const { alerts } = await alertsOf(other);
    expect(alerts).toHaveLength(1);
    expect(alerts[0]).toMatchObject({
      kind: AnomalyKind.FAILED_LOGINS,
      severity: AlertSeverity.MEDIUM,
      namespace: "default",
      count: 1,
      acknowledgedBy: "",
      evidence: {
        case: "failedLogins",
        value: { name: expect.stringMatching(/^hmac:/), host: "127.0.0.1" },
      },
    });
    expect(
      JSON.stringify(alerts[0], (_, value) => (typeof value === "bigint" ? "" : value)),
    ).not.toContain("victim");
    // The last of the failures that were too many.
    const leaves = await entriesOf(vault, admin, { resource: "victim" });
    expect(leaves.some(({ index }) => index === alerts[0]?.firstLeaf)).toBe(true);
    const metrics = await Promise.all(
      [vault, other].map(async ({ service }) =>
        (await fetch(`http://${service.opsAddress}/metrics`)).text(),
      ),
    );
    const raised = metrics.join("\n").match(/anomalies_total\{kind="failed-logins"[^}]*\} 1$/gm);
    expect(raised).toHaveLength(1);
  });

  it("is watched from a revision on, and acknowledged once, with an entry", async () => {
    const [open] = (await alertsOf()).alerts;
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      const request = { resumeRevision: (open?.revision ?? 0n) - 1n };
      const options = { ...admin, signal: stop.signal };
      for await (const { alerts } of other.anomalies.watchAlerts(request, options)) {
        for (const { alertId, note } of alerts) seen.push(`${alertId} ${note}`);
      }
    })().catch(() => undefined);
    const alertId = open?.alertId ?? "";
    await waitFor(() => seen.length === 1, { what: "the alert in the watch" });
    const request = { requestId: requestId(), alertId, note: "a test" };
    const { alert } = await vault.anomalies.acknowledgeAlert(request, admin);
    expect(alert).toMatchObject({ acknowledgedBy: "admin", note: "a test" });
    await waitFor(() => seen.length === 2, { what: "the acknowledgement in the watch" });
    expect(seen).toEqual([`${alertId} `, `${alertId} a test`]);
    stop.abort();
    await watching;
    await vault.anomalies.acknowledgeAlert(request, admin);
    const again = { requestId: requestId(), alertId, note: "somebody else" };
    expect((await other.anomalies.acknowledgeAlert(again, admin)).alert?.note).toBe("a test");
    expect((await alertsOf()).alerts).toEqual([]);
    const all = { includeAcknowledged: true, kind: AnomalyKind.FAILED_LOGINS };
    expect((await vault.anomalies.listAlerts(all, admin)).alerts).toHaveLength(1);
    await sequenced(pool);
    const entries = await entriesOf(vault, admin, { resource: alertId });
    expect(entries).toHaveLength(3);
    expect(entries.at(-1)).toMatchObject({ actor: "admin" });
    expect(fieldsOf(entries.at(-1))["note"]).toBe("a test");
  });

  it("is for who may see it, of its own namespace", async () => {
    const unknown = { requestId: requestId(), alertId: "alert_none" };
    expect(await outcome(vault.anomalies.acknowledgeAlert(unknown, admin))).toBe(
      "not_found/ALERT_NOT_FOUND",
    );
    expect(await outcome(vault.anomalies.listAlerts({}))).toBe("unauthenticated/TOKEN_MISSING");
    const { clientSecret } = await vault.principals.createPrincipal(
      { requestId: requestId(), principalId: "plain", kind: 2 },
      admin,
    );
    const { tokens } = await vault.auth.grantClientToken({ principalId: "plain", clientSecret });
    const plain = { token: tokens?.accessToken ?? "" };
    expect(await outcome(vault.anomalies.listAlerts({}, plain))).toBe("forbidden/SCOPE_MISSING");
    expect(await outcome(vault.anomalies.acknowledgeAlert(unknown, plain))).toBe(
      "forbidden/SCOPE_MISSING",
    );
  });
});

describe("guesses at one password", () => {
  it("raise an alert that names the principal, made by logins or with a token of its own", async () => {
    const user = await createUser(vault, admin);
    const { principalId } = user;
    for (let index = 0; index < GUESSES; index++) {
      const [oldPassword, newPassword] = ["not the password, no", "one to keep it with"];
      const request = { requestId: requestId(), oldPassword, newPassword };
      const tried =
        index % 2 === 0
          ? login(vault, principalId, oldPassword)
          : vault.auth.changePassword(request, user);
      expect(await outcome(tried)).toMatch(/CREDENTIALS_INVALID|PASSWORD_WRONG/);
    }
    const found = async () =>
      (await alertsOf()).alerts.filter(
        ({ evidence }) => evidence.case === "failedLogins" && evidence.value.name === principalId,
      );
    await waitFor(async () => (await found()).length > 0, { what: "the alert" });
  });
});

describe("the journal of alerts", () => {
  const evidence = { detector: "first-seen", what: "key", value: "k", known: 1 } as const;
  const finding = (leafIndex: number, timeMs: number) => ({
    severity: "low" as const,
    namespace: "team",
    principalId: "p",
    subject: "journal",
    timeMs,
    leafIndex,
    evidence,
  });
  const DAY_MS = 86_400_000;

  it("joins findings about one subject within an hour, and stores those of a leaf once", async () => {
    const journal = createAlertJournal(pool, createIds());
    await examined();
    const from = (await journal.examinedUpTo()) + 1_000_000;
    const at = Date.now();
    const stretch = (next: number, ...findings: ReturnType<typeof finding>[]) =>
      journal.commit({ next, findings, pairs: [] });
    const first = await stretch(from + 1, finding(from, at));
    expect(first.alerts).toMatchObject([{ count: 1 }]);
    expect((await stretch(from + 1, finding(from, at))).alerts).toEqual([]);
    const joined = await stretch(from + 2, finding(from, at), finding(from + 1, at + 60_000));
    expect(joined.alerts).toMatchObject([{ alertId: first.alerts[0]?.alertId, count: 2 }]);
    const later = await stretch(from + 3, finding(from + 2, at + 7_200_000));
    expect(later.alerts).toMatchObject([{ count: 1 }]);
    expect(later.alerts[0]?.alertId).not.toBe(first.alerts[0]?.alertId);
  });

  it("raises none beyond ten thousand that nobody has acknowledged, counts what it drops, and goes on with those that are open", async () => {
    const journal = createAlertJournal(pool, createIds());
    const from = (await journal.examinedUpTo()) + 1_000_000;
    const at = Date.now();
    const known = { ...finding(from, at), subject: "known before the flood" };
    expect((await journal.commit({ next: from + 1, findings: [known], pairs: [] })).dropped).toBe(
      0,
    );
    await pool.query(`
      INSERT INTO anomaly_alerts (alert_id, revision, subject, detector, severity, namespace,
        principal_id, evidence, first_at, last_at, first_leaf, last_leaf, findings)
      SELECT 'flood-' || n, -n, 'flood-' || n, 'rate', 1, 'n', '', '{}', now(), now(), 0, 0, 1
      FROM generate_series(1, 10000
        - (SELECT count(*)::integer FROM anomaly_alerts WHERE acknowledged_at IS NULL)) n`);
    const again = { ...known, leafIndex: from + 1 };
    const fresh = { ...finding(from + 2, at), subject: "new in the flood" };
    const flooded = await journal.commit({ next: from + 3, findings: [again, fresh], pairs: [] });
    expect(flooded.dropped).toBe(1);
    expect(flooded.alerts).toMatchObject([{ count: 2 }]);
    await pool.query("DELETE FROM anomaly_alerts WHERE subject = 'flood-1'");
    const late = { ...fresh, leafIndex: from + 3 };
    const after = await journal.commit({ next: from + 4, findings: [late], pairs: [] });
    expect([after.dropped, after.alerts.length]).toEqual([0, 1]);
    await pool.query("DELETE FROM anomaly_alerts WHERE subject LIKE 'flood-%'");
  });

  it("knows what a principal used before, across starts of vault", async () => {
    const journal = createAlertJournal(pool, createIds());
    let next = await journal.examinedUpTo();
    const startMs = Date.now() - 10 * DAY_MS;
    const use = async (value: string, timeMs: number) => {
      const leafIndex = next++;
      const pair = { namespace: "n", principalId: "user", what: "key" as const, value };
      return journal.commit({
        next,
        findings: [],
        pairs: [{ ...pair, timeMs, leafIndex }],
      });
    };
    expect((await use("a", startMs)).alerts).toEqual([]);
    expect((await use("b", startMs + DAY_MS / 2)).alerts).toEqual([]);
    expect((await use("a", startMs + 2 * DAY_MS)).alerts).toEqual([]);
    const found = await use("c", startMs + 2 * DAY_MS);
    expect(found.alerts).toMatchObject([{ evidence: { value: "c", known: 2 }, severity: "low" }]);
    expect((await use("c", startMs + 3 * DAY_MS)).alerts).toEqual([]);
  });

  it("has a rule that says nothing of who is new or uses many", () => {
    const pair = {
      namespace: "n",
      principalId: "p",
      what: "peer" as const,
      value: "h",
      timeMs: 2 * DAY_MS,
      leafIndex: 1,
    };
    expect(judgeFirstSeen(pair, { sinceMs: undefined, known: 0 })).toBeUndefined();
    expect(judgeFirstSeen(pair, { sinceMs: 1.5 * DAY_MS, known: 1 })).toBeUndefined();
    expect(judgeFirstSeen(pair, { sinceMs: 0, known: 32 })).toBeUndefined();
    expect(judgeFirstSeen(pair, { sinceMs: 0, known: 1 })).toMatchObject({ severity: "low" });
  });
});
