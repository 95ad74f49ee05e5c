/** Every field of a request that can be too long, too many, too small or too large says in the contract how much is too much: what the
 * server checks, it checks before any code of ours sees the request. */
import {
  type DescField,
  type DescMessage,
  type DescService,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import {
  type FieldRules,
  field as fieldOption,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import * as gateway from "@nexus/proto/gateway";
import * as insight from "@nexus/proto/insight";
import * as kms from "@nexus/proto/kms";
import * as mesh from "@nexus/proto/mesh";
import * as orchestrator from "@nexus/proto/orchestrator";
import * as registry from "@nexus/proto/registry";
import * as vault from "@nexus/proto/vault";
import { expect, it } from "vitest";

const DOMAINS = [gateway, insight, kms, mesh, orchestrator, registry, vault];

/** Fields without a limit, and why they need none. */
const WITHOUT_LIMIT: Readonly<Record<string, string>> = {
  "AttemptOutcome.queue_time": "measured by the database: nothing bounds how long a task waits",
  "AttemptOutcome.run_time": "measured by the database",
  "AttemptOutcome.work_time": "measured by the database",
  "Heartbeat.loop_lag": "measured by the agent, and looked at by nobody but people",
};

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}

/** All fields that a caller may fill, each once. */
function requestFields(): DescField[] {
  const services = DOMAINS.flatMap((module) => Object.values(module as object).filter(isService));
  const waiting = services.flatMap(({ methods }) => methods.map(({ input }) => input));
  const seen = new Set<DescMessage>();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    // Google's own types have the ranges that their names say.
    if (seen.has(next) || next.typeName.startsWith("google.")) continue;
    seen.add(next);
    waiting.push(...next.fields.flatMap(({ message }) => (message === undefined ? [] : [message])));
  }
  return [...seen].flatMap(({ fields }) => fields);
}

function nameOf(field: DescField): string {
  return `${field.parent.name}.${field.name}`;
}

/** What about a field has no limit; empty when all has. */
function unlimited(field: DescField): string[] {
  const rules = hasOption(field, fieldOption) ? getOption(field, fieldOption) : undefined;
  // A rule in words of its own says more than a limit.
  if ((rules?.cel.length ?? 0) > 0) return [];
  switch (field.fieldKind) {
    case "list": {
      const list = rules?.type.case === "repeated" ? rules.type.value : undefined;
      const item =
        field.listKind === "scalar" ? scalarProblem(field.scalar, list?.items) : undefined;
      return [...(isSet(list?.maxItems) ? [] : ["its number"]), ...named("an item", item)];
    }
    case "map": {
      const map = rules?.type.case === "map" ? rules.type.value : undefined;
      const value =
        field.mapKind === "scalar" ? scalarProblem(field.scalar, map?.values) : undefined;
      const key = scalarProblem(field.mapKey, map?.keys);
      const number = isSet(map?.maxPairs) ? [] : ["its number"];
      return [...number, ...named("a key", key), ...named("a value", value)];
    }
    case "scalar":
      return named("it", scalarProblem(field.scalar, rules));
    case "enum":
      return rules?.type.case === "enum" ? [] : ["it: no value is excluded"];
    case "message":
      if (field.message.typeName !== "google.protobuf.Duration") return [];
      return rules?.type.case === "duration" ? [] : ["it: no bound"];
  }
}

function named(what: string, problem: string | undefined): string[] {
  return problem === undefined ? [] : [`${what}: ${problem}`];
}

function scalarProblem(type: ScalarType, rules: FieldRules | undefined): string | undefined {
  const of = rules?.type;
  switch (type) {
    case ScalarType.BOOL:
      return undefined;
    case ScalarType.STRING: {
      if (of?.case !== "string") return "no length";
      const { maxLen, len, maxBytes, lenBytes, pattern, in: oneOf } = of.value;
      const isMeasured = [maxLen, len, maxBytes, lenBytes].some(isSet) || oneOf.length > 0;
      return isMeasured || boundsLength(pattern) ? undefined : "no length";
    }
    case ScalarType.BYTES:
      if (of?.case !== "bytes") return "no length";
      return isSet(of.value.maxLen) || isSet(of.value.len) ? undefined : "no length";
    default: {
      const bounds = of?.value as
        | { greaterThan?: Bound; lessThan?: Bound; in?: unknown[] }
        | undefined;
      const sides = [bounds?.greaterThan?.case, bounds?.lessThan?.case];
      const isBounded = sides.some((side) => side !== undefined) || (bounds?.in?.length ?? 0) > 0;
      return isBounded ? undefined : "no bound";
    }
  }
}

interface Bound {
  readonly case: string | undefined;
}

function isSet(limit: bigint | undefined): boolean {
  return limit !== undefined && limit > 0n;
}

/** Says whether a pattern is for the whole text and repeats nothing without an end. */
function boundsLength(pattern: string): boolean {
  const inClasses = pattern.replaceAll(/\[[^\]]*\]/g, "x");
  return /^\^.*\$$/.test(pattern) && !/[*+]|,\}/.test(inClasses);
}

it("gives every field of a request a limit, but for those that say why not", () => {
  const fields = requestFields();
  const open = new Map(fields.map((field) => [nameOf(field), unlimited(field)]));
  const problems = [...open].filter(
    ([name, what]) => what.length > 0 && WITHOUT_LIMIT[name] === undefined,
  );
  expect(problems.map(([name, what]) => `${name} has no limit on ${what.join(", ")}`)).toEqual([]);
  // A reason for a field that is gone, or has a limit by now, is one for nothing.
  const stale = Object.keys(WITHOUT_LIMIT).filter((name) => (open.get(name) ?? []).length === 0);
  expect(stale).toEqual([]);
  expect(fields.length).toBeGreaterThan(300);
});
