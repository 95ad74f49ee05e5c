import { beforeAll, describe, expect, it } from "vitest";
import type { AuditEvent, Finding } from "./alert.ts";
import { AnomalyDetector } from "./anomaly-detector.ts";
import { judgeFirstSeen, type KnownPair, VALUES_MAX } from "./first-seen.ts";
import { SubjectMemory } from "./subject-memory.ts";
import { playTraffic } from "./traffic.fake.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;

/** What the store remembers of keys and hosts, in memory. */
class KnownBook {
  readonly #values = new Map<string, Map<string, number>>();

  judge(pair: KnownPair): Finding | undefined {
    const name = [pair.namespace, pair.principalId, pair.what].join("\n");
    const values = this.#values.get(name) ?? new Map<string, number>();
    this.#values.set(name, values);
    if (values.has(pair.value)) return undefined;
    const sinceMs = values.size === 0 ? undefined : Math.min(...values.values());
    const finding = judgeFirstSeen(pair, { sinceMs, known: values.size });
    if (values.size < VALUES_MAX) values.set(pair.value, pair.timeMs);
    return finding;
  }
}

function examineAll(detector: AnomalyDetector, book: KnownBook, events: readonly AuditEvent[]) {
  const { findings, pairs } = detector.examine(events);
  return [...findings, ...pairs.flatMap((pair) => book.judge(pair) ?? [])];
}

describe("days of normal traffic", () => {
  it("raise nothing but low alerts on new keys and hosts, a few a day", () => {
    const DAYS = 3;
    const detector = new AnomalyDetector();
    const book = new KnownBook();
    let events = 0;
    const findings: Finding[] = [];
    for (const minute of playTraffic({ seed: 7, days: DAYS, agents: 20, people: 15 })) {
      events += minute.length;
      findings.push(...examineAll(detector, book, minute));
    }
    expect(events).toBeGreaterThan(150_000);
    const serious = findings.filter(({ severity }) => severity !== "low");
    const perDay = (found: readonly Finding[]) => found.length / DAYS;
    expect(serious).toEqual([]);
    // There are new keys and restarts elsewhere, so there have to be some.
    const low = perDay(findings);
    expect(low).toBeGreaterThan(0);
    expect(low).toBeLessThanOrEqual(8);
  });
});

describe("an attack", () => {
  const detector = new AnomalyDetector();
  const book = new KnownBook();
  let last: AuditEvent;

  beforeAll(() => {
    for (const minute of playTraffic({ seed: 1, days: 2, agents: 20, people: 10 })) {
      examineAll(detector, book, minute);
      last = minute.at(-1) ?? last;
    }
  });

  /** Plays calls of one principal, evenly over a time, and returns what was found. */
  function attack(
    calls: number,
    overMs: number,
    make: (call: number) => Partial<AuditEvent>,
  ): readonly Finding[] {
    const startedAtMs = Math.ceil(last.timeMs / DAY_MS) * DAY_MS;
    const events = Array.from({ length: calls }, (_, call) => ({
      ...last,
      timeMs: startedAtMs + (overMs * call) / calls,
      outcome: "allowed" as const,
      count: 1,
      ...make(call),
    }));
    return examineAll(detector, book, events);
  }

  const kindsOf = (findings: readonly Finding[]) =>
    findings.map(({ evidence, severity }) => `${severity} ${evidence.detector}`);
  const agent = (index: number) => ({
    principalId: `agent-${index}`,
    kind: "agent",
    namespace: "default",
    host: "10.0.0.1",
    tokenId: `agent-${index}/attack`,
    resource: `key-agent-${index}`,
  });

  it("of a caller that signs far more than ever is an alert on its rate", () => {
    const findings = attack(2000, MINUTE_MS, () => ({ ...agent(1), method: "Encrypt" }));
    expect(kindsOf(findings)).toEqual(["medium rate"]);
    expect(findings[0]).toMatchObject({
      principalId: "agent-1",
      evidence: { method: "Encrypt", windowMs: MINUTE_MS },
    });
  });

  it("of a newcomer without a history is one at a fixed limit", () => {
    const newcomer = { ...agent(900), principalId: "newcomer", resource: "" };
    const findings = attack(3000, MINUTE_MS, () => ({ ...newcomer, method: "Sign" }));
    expect(kindsOf(findings)).toEqual(["medium rate"]);
    expect(findings[0]?.evidence).toMatchObject({ limit: 1200, usual: undefined });
  });

  it("of somebody who reads all that a caller may read is an alert on what it takes out", () => {
    const findings = attack(2000, 10 * MINUTE_MS, () => ({ ...agent(2), method: "Decrypt" }));
    expect(kindsOf(findings)).toEqual(["high decrypt-ratio"]);
  });

  it("of guessing at one name is an alert on the name", () => {
    const guess = {
      method: "Login",
      outcome: "denied" as const,
      principalId: "",
      kind: "anonymous",
    };
    const name = { resource: "hmac:victim", tokenId: "", host: "203.0.113.9" };
    const findings = attack(200, MINUTE_MS, () => ({ ...guess, ...name }));
    expect(kindsOf(findings)).toEqual(["medium failed-logins"]);
    expect(findings[0]?.evidence).toMatchObject({ name: "hmac:victim", host: "203.0.113.9" });
  });

  it("at no name is none: a change of password that was refused before it was looked at", () => {
    const refused = { method: "ChangePassword", outcome: "denied" as const, principalId: "" };
    const nobody = { kind: "anonymous", resource: "", tokenId: "", host: "203.0.113.11" };
    expect(attack(200, MINUTE_MS, () => ({ ...refused, ...nobody }))).toEqual([]);
    const victim = { ...nobody, resource: "hmac:changer" };
    const guessed = attack(200, MINUTE_MS, () => ({ ...refused, ...victim }));
    expect(kindsOf(guessed)).toEqual(["medium failed-logins"]);
  });

  it("of one password under many names is an alert on the host", () => {
    const findings = attack(200, MINUTE_MS, (call) => ({
      method: "Login",
      outcome: "denied" as const,
      principalId: "",
      kind: "anonymous",
      tokenId: "",
      host: "203.0.113.10",
      resource: `hmac:name-${call}`,
    }));
    expect(kindsOf(findings)).toEqual(["high login-spread"]);
    expect(findings[0]?.evidence).toMatchObject({ host: "203.0.113.10", names: 20 });
  });

  it("with a token in three places at once is an alert on the token, behind gateways it is none", () => {
    const use = (host: string) => ({ ...agent(3), method: "GetJob", resource: "", host });
    const hosts = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    const three = attack(60, MINUTE_MS, (call) => use(hosts[call % 3] ?? ""));
    const serious = three.filter(({ severity }) => severity !== "low");
    expect(kindsOf(serious)).toEqual(["high parallel-use"]);
    expect(serious[0]?.evidence).toMatchObject({ tokenId: "agent-3/attack", hosts });
    const gateways = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    const behind = attack(60, MINUTE_MS, (call) => ({
      ...use(gateways[call % 3] ?? ""),
      tokenId: "agent-3/other",
    }));
    expect(kindsOf(behind)).toEqual([]);
  });

  it("with a key that a caller never used is a low alert, for one known for a day", () => {
    const findings = attack(3, MINUTE_MS, () => ({
      ...agent(0),
      method: "Decrypt",
      resource: "key-of-somebody-else",
    }));
    expect(kindsOf(findings)).toEqual(["low first-seen"]);
    expect(findings[0]?.evidence).toMatchObject({ what: "key", value: "key-of-somebody-else" });
    const fresh = { ...agent(0), principalId: "fresh", method: "Decrypt" };
    expect(kindsOf(attack(3, MINUTE_MS, (call) => ({ ...fresh, resource: `k${call}` })))).toEqual(
      [],
    );
  });
});

describe("a detector's memory", () => {
  it("is of a bounded number of subjects, the latest ones", () => {
    const memory = new SubjectMemory<{ n: number }>(20);
    for (let n = 0; n < 1000; n++) {
      memory.of(String(n), () => ({ n }));
      // Met again and again, it is never among those that were silent.
      expect(memory.of("often", () => ({ n })).n).toBe(0);
      expect(memory.size).toBeLessThanOrEqual(20);
    }
    expect(memory.of("995", () => ({ n: -1 })).n).toBe(995);
    expect(memory.of("1", () => ({ n: -1 })).n).toBe(-1);
  });
});
