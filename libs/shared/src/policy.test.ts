import { describe, expect, it } from "vitest";
import {
  type AccessRequest,
  compilePolicies,
  evaluate,
  type Policy,
  type PolicyStatement,
} from "./policy.ts";

const allow = (actions: string[], resources: string[] = []): PolicyStatement => ({
  effect: "allow",
  actions,
  resources,
});
const deny = (actions: string[], resources: string[] = []): PolicyStatement => ({
  effect: "deny",
  actions,
  resources,
});
const READ = "vault:secret:read";

describe("evaluate", () => {
  it("refuses what nothing allows", () => {
    const request = { action: READ, resource: "prod/db" };
    expect(evaluate([], request)).toEqual({ allowed: false, reason: "no_grant" });
    const other: Policy = { name: "p", statements: [allow(["vault:secret:write"], ["*"])] };
    expect(evaluate([other], request)).toEqual({ allowed: false, reason: "no_grant" });
  });

  it("lets a deny win, wherever it stands", () => {
    const open: Policy = { name: "open", statements: [allow(["*"])] };
    const closed: Policy = { name: "closed", statements: [deny([READ], ["prod/*"])] };
    for (const policies of [
      [open, closed],
      [closed, open],
    ]) {
      expect(evaluate(policies, { action: READ, resource: "prod/db" })).toEqual({
        allowed: false,
        reason: "denied",
        policy: "closed",
      });
      expect(evaluate(policies, { action: READ, resource: "test/db" })).toEqual({
        allowed: true,
        reason: "allowed",
        policy: "open",
      });
    }
  });

  it("lets no pattern speak for a request about nothing in particular", () => {
    const limited: Policy = { name: "p", statements: [allow([READ], ["*"])] };
    expect(evaluate([limited], { action: READ }).reason).toBe("no_grant");
    expect(evaluate([limited], { action: READ, resource: "a" }).reason).toBe("allowed");
  });

  it("refuses a resource that is not in its only form, whatever is allowed", () => {
    const open: Policy = { name: "open", statements: [allow(["*"])] };
    for (const resource of ["test/../prod/db", "prod//db", "/prod/db", "prod/db/", "pro\u0000d"]) {
      expect(evaluate([open], { action: READ, resource }).reason, resource).toBe("malformed");
    }
  });
});

// The reference: every pattern becomes a regular expression by the words of its definition, every statement is asked.

type RegexCache = Map<string, RegExp>;
const actionRegexes: RegexCache = new Map();
const resourceRegexes: RegexCache = new Map();

function regex(cache: RegexCache, pattern: string, toSource: (pattern: string) => string): RegExp {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const made = new RegExp(`^${toSource(pattern)}$`, "su");
  cache.set(pattern, made);
  return made;
}

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/-]/gu, "\\$&");

function actionSource(pattern: string): string {
  return pattern === "*" ? ".*" : pattern.split(":").map(segment).join(":");
}

function segment(text: string): string {
  return text === "*" ? "[^:]*" : literal(text);
}

function resourceSource(pattern: string): string {
  const isOpen = pattern.endsWith("*");
  const parts = (isOpen ? pattern.slice(0, -1) : pattern).split("/");
  const body = parts.map((part) => (part === "*" ? "[^/]+" : literal(part))).join("/");
  return isOpen ? `${body}.*` : body;
}

function actionMatches(pattern: string, action: string): boolean {
  return regex(actionRegexes, pattern, actionSource).test(action);
}

function resourceMatches(pattern: string, resource: string | undefined): boolean {
  return resource !== undefined && regex(resourceRegexes, pattern, resourceSource).test(resource);
}

function referenceAllows(policies: readonly Policy[], request: AccessRequest): boolean {
  const matching = policies
    .flatMap((policy) => policy.statements)
    .filter(({ actions }) => actions.some((one) => actionMatches(one, request.action)))
    .filter(
      ({ resources }) =>
        resources.length === 0 || resources.some((one) => resourceMatches(one, request.resource)),
    );
  if (matching.some((statement) => statement.effect === "deny")) return false;
  return matching.some((statement) => statement.effect === "allow");
}

/** Mulberry32: small, and the same everywhere. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Random = ReturnType<typeof createRandom>;

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)] as T;
}

/** Few words, so that patterns and requests meet. */
const WORDS = ["a", "b", "ab", "prod", "pro", "a.b"];
const DOMAINS = ["vault", "mesh"];
const THINGS = ["key", "secret"];
const VERBS = ["read", "write", "use"];

function randomAction(random: Random): string {
  return `${pick(random, DOMAINS)}:${pick(random, THINGS)}:${pick(random, VERBS)}`;
}

function randomActionPattern(random: Random): string {
  if (random(12) === 0) return "*";
  const part = (words: readonly string[]) => (random(4) === 0 ? "*" : pick(random, words));
  return `${part(DOMAINS)}:${part(THINGS)}:${part(VERBS)}`;
}

function randomResource(random: Random): string {
  return times(1 + random(3), () => pick(random, WORDS)).join("/");
}

function randomResourcePattern(random: Random): string {
  if (random(10) === 0) return "*";
  const parts = times(1 + random(3), () => (random(4) === 0 ? "*" : pick(random, WORDS)));
  const end = parts.at(-1) === "*" ? "" : pick(random, ["", "", "*", "/*"]);
  return parts.join("/") + end;
}

function randomPolicies(random: Random): Policy[] {
  return times(random(4), () => ({
    name: `p${random(1000)}`,
    statements: times(1 + random(3), () => ({
      effect: random(3) === 0 ? ("deny" as const) : ("allow" as const),
      actions: times(1 + random(2), () => randomActionPattern(random)),
      resources: times(random(3), () => randomResourcePattern(random)),
    })),
  }));
}

function randomRequest(random: Random): AccessRequest {
  const action = randomAction(random);
  return random(10) === 0 ? { action } : { action, resource: randomResource(random) };
}

const SETS = 20_000;
const REQUESTS_PER_SET = 50;
const SEED = Number(process.env["NEXUS_TEST_SEED"] ?? Math.trunc(performance.timeOrigin) % 2 ** 31);

describe("evaluate against the reference", () => {
  it("agrees on a million random pairs of policies and request", () => {
    const random = createRandom(SEED);
    const counts = { allowed: 0, denied: 0, no_grant: 0, malformed: 0 };
    for (let set = 0; set < SETS; set++) {
      const policies = randomPolicies(random);
      const compiled = compilePolicies(policies);
      for (let i = 0; i < REQUESTS_PER_SET; i++) {
        const request = randomRequest(random);
        const decision = compiled.decide(request);
        counts[decision.reason]++;
        if (decision.allowed !== referenceAllows(policies, request)) {
          const pair = JSON.stringify({ policies, request, decision }, undefined, 2);
          expect.fail(`NEXUS_TEST_SEED=${SEED}, set ${set}: the reference disagrees on ${pair}`);
        }
      }
    }
    // Neither side may agree by answering always the same.
    expect(counts.allowed, `NEXUS_TEST_SEED=${SEED}`).toBeGreaterThan(100_000);
    expect(counts.denied).toBeGreaterThan(100_000);
    expect(counts.no_grant).toBeGreaterThan(100_000);
    expect(counts.malformed).toBe(0);
  }, 60_000);

  it("answers alike in any order, grants nothing by another deny and takes nothing by another allow", () => {
    const random = createRandom(SEED + 1);
    for (let set = 0; set < 500; set++) {
      const policies = randomPolicies(random);
      const shuffled = [...policies].sort(() => random(3) - 1);
      const extra = randomPolicies(random);
      const only = (effect: string) =>
        extra.map((policy) => ({
          ...policy,
          statements: policy.statements.filter((statement) => statement.effect === effect),
        }));
      for (let i = 0; i < 10; i++) {
        const request = randomRequest(random);
        const before = evaluate(policies, request);
        const what = `NEXUS_TEST_SEED=${SEED}: ${JSON.stringify({ policies, extra, request })}`;
        expect(evaluate(shuffled, request), what).toEqual(before);
        const withDenies = evaluate([...policies, ...only("deny")], request);
        expect(before.allowed || !withDenies.allowed, what).toBe(true);
        const withAllows = evaluate([...policies, ...only("allow")], request);
        expect(withAllows.allowed || !before.allowed, what).toBe(true);
      }
    }
  });
});
