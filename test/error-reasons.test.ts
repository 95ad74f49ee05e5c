/** Keeps the table of reasons complete: what code throws and what contracts promise is in it, with the same kind. */
import { fromWireStatus } from "@nexus/rpc";
import {
  ERROR_KINDS,
  ERROR_REASONS,
  type ErrorReason,
  isErrorKind,
  TASK_FAILURE_REASONS,
} from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { readDocumentedReasons, readErrorUses } from "../scripts/source/error-uses.ts";
import { isTestFile, listFiles, readWorkspaces } from "../scripts/source/workspace.ts";
import { ROOT, readText } from "./_manifests.ts";
import { writeTree } from "./_tree.ts";

/** gRPC codes by number, as the contracts spell them. */
const CODE_NAMES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];
/** A handler's signal aborts with these: its lease is over, and nothing is stored with the task. */
const ABORT_WORDS = ["DRAINING", "LEASE_LOST"];
/** Restores errors that other servers made; their reasons come over the wire. */
const RESTORES = "libs/rpc/src/wire/status.ts";
const SHAPE = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;
const REASONS: Readonly<Record<string, ErrorReason | undefined>> = ERROR_REASONS;

const sources = readWorkspaces(ROOT)
  .flatMap(({ files }) => files)
  .filter((file) => !isTestFile(file) && !file.endsWith(".fake.ts"));
const product = sources.filter((file) => !file.startsWith("examples/"));
const found = readErrorUses(ROOT, sources, isErrorKind);
const documented = listFiles(ROOT, "proto/nexus", ".proto").flatMap((file) =>
  readDocumentedReasons(file, readText(file)),
);

function codeName(reason: string): string | undefined {
  const kind = REASONS[reason]?.kind;
  return kind === undefined ? undefined : CODE_NAMES[ERROR_KINDS[kind].grpcCode];
}

describe("the table of reasons", () => {
  it("has every reason that code throws, with its kind", () => {
    const wrong = found.uses
      .filter(({ reason, kind }) => kind === undefined || REASONS[reason]?.kind !== kind)
      .filter(({ reason, kind }) => kind !== undefined || REASONS[reason] === undefined)
      .map(({ reason, kind, place }) => `${place} ${kind ?? "?"}/${reason}`);
    expect(wrong).toEqual([]);
    expect(found.uses.length).toBeGreaterThan(100);
  });

  it("can be held against every error: no reason is made where this test cannot read it", () => {
    const places = found.unreadable.filter((place) => !place.startsWith(RESTORES));
    expect(places).toEqual([]);
  });

  it("has every reason that a contract documents, with the status it names", () => {
    const wrong = documented
      .filter(({ reason, grpcCode }) =>
        grpcCode === undefined
          ? REASONS[reason] === undefined && !Object.hasOwn(TASK_FAILURE_REASONS, reason)
          : codeName(reason) !== grpcCode,
      )
      .map(({ reason, grpcCode, place }) => `${place} ${grpcCode ?? "?"}/${reason}`);
    expect(wrong).toEqual([]);
    expect(documented.length).toBeGreaterThan(50);
  });

  it("has the reason of every status that comes without details", () => {
    for (const [kind, { grpcCode }] of Object.entries(ERROR_KINDS)) {
      const bare = fromWireStatus({ code: grpcCode, details: "no", metadata: undefined });
      expect([bare.reason, REASONS[bare.reason]?.kind]).toEqual([bare.reason, kind]);
    }
  });

  it("holds upper snake case names with one-line meanings", () => {
    for (const [name, { meaning }] of Object.entries({
      ...ERROR_REASONS,
      ...TASK_FAILURE_REASONS,
    })) {
      expect(name).toMatch(SHAPE);
      expect(meaning).toMatch(/^[A-Z].*\.$/);
    }
  });
});

describe("the table of task failures", () => {
  it("has every reason of our own that is stored with a task", () => {
    const files = new Set(product);
    const missing = found.taskReasons
      .filter(({ place }) => files.has(place.replace(/:\d+$/, "")))
      .filter(({ reason }) => !Object.hasOwn(TASK_FAILURE_REASONS, reason))
      .filter(({ reason }) => !ABORT_WORDS.includes(reason))
      .map(({ reason, place }) => `${place} ${reason}`);
    expect(missing).toEqual([]);
  });

  it("is the list that the contract gives", () => {
    const text = readText("proto/nexus/orchestrator/v1/task.proto");
    const list = /message Failure \{\n((?:\s*\/\/.*\n)+)/.exec(text)?.[1] ?? "";
    const names = [...list.matchAll(/`([A-Z_]+)`/g)].map((match) => match[1] ?? "");
    expect(names.sort()).toEqual(Object.keys(TASK_FAILURE_REASONS).sort());
  });
});

describe("the reader of reasons", () => {
  it("sees literals, choices, tables and factories, and says what it cannot follow", () => {
    const root = writeTree({
      "a.ts": `
        throw new NexusError({ kind: "invalid", reason: odd ? "ODD" : "EVEN", message });
        const table = [{ kind: "conflict", reason: "CLASH" }, { kind: "circle", reason: "SHAPE" }];
        function refuse(kind, reason) { return new NexusError({ kind, reason, message }); }
        refuse("deadline", "LATE");
        throw new NexusError({ kind: error.kind, reason: error.reason, message });
        const word = pick(); throw new NexusError({ kind: "invalid", reason: word, message });
        throw new TaskError({ reason: "SPOILT", message });
      `,
    });
    const read = readErrorUses(root, ["a.ts"], isErrorKind);
    const pairs = read.uses.map(({ kind, reason }) => `${kind}/${reason}`);
    expect(pairs.sort()).toEqual([
      "conflict/CLASH",
      "deadline/LATE",
      "invalid/EVEN",
      "invalid/ODD",
    ]);
    expect(read.taskReasons.map(({ reason }) => reason)).toEqual(["SPOILT"]);
    expect(read.unreadable).toEqual(["a.ts:7"]);
  });

  it("reads a contract's comments sentence by sentence", () => {
    const text = [
      "// Makes it. ALREADY_EXISTS, reason `TAKEN`, when it is there, or `TAKEN_TWICE`. A `WORD` is none.",
      "//",
      "// ABORTED, reason",
      "// `CLASH`, or UNAVAILABLE, reason `AWAY`. Fails with reason `LOST`.",
      "rpc Make(A) returns (B);",
      "",
    ].join("\n");
    const read = readDocumentedReasons("a.proto", text);
    expect(read.map(({ reason, grpcCode }) => `${grpcCode ?? "?"}/${reason}`)).toEqual([
      "ALREADY_EXISTS/TAKEN",
      "ALREADY_EXISTS/TAKEN_TWICE",
      "ABORTED/CLASH",
      "UNAVAILABLE/AWAY",
      "?/LOST",
    ]);
  });
});
