import { createHash } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuditEntrySchema, AuditResult } from "@nexus/proto/common";
import { describe, expect, it } from "vitest";
import { tryReadEntry } from "./entry.ts";
import { ENTRY_BYTES_MAX, encodeQuarantineNotice, findEntryProblem } from "./quarantine.ts";

const encode = (init: MessageInitShape<typeof AuditEntrySchema>) =>
  toBinary(AuditEntrySchema, create(AuditEntrySchema, init));
const told = (draft: Uint8Array, timeUs = 1n) => ({ draft, timeUs });

describe("findEntryProblem", () => {
  it("has nothing against what a service says of itself, up to the limit of the contract", () => {
    expect(ENTRY_BYTES_MAX).toBe(32_768);
    const shell = encode({ service: "registry", resource: "x".repeat(30_000) });
    const filled = ENTRY_BYTES_MAX - shell.byteLength + 30_000;
    const largest = encode({ service: "registry", resource: "x".repeat(filled) });
    expect(largest.byteLength).toBe(ENTRY_BYTES_MAX);
    expect(findEntryProblem("registry", told(largest))).toBeUndefined();
    const larger = encode({ service: "registry", resource: "x".repeat(filled + 1) });
    expect(findEntryProblem("registry", told(larger))).toBe("too large");
  });

  it("finds what is no entry, what another would have said, and what no clock shows", () => {
    expect(findEntryProblem("registry", told(Buffer.of()))).toBe("unreadable");
    expect(findEntryProblem("registry", told(Buffer.of(1)))).toBe("unreadable");
    expect(findEntryProblem("registry", told(encode({ service: "vault" })))).toBe(
      "of another service",
    );
    expect(findEntryProblem("registry", told(encode({ action: "x" })))).toBe("of another service");
    const own = encode({ service: "registry" });
    const lastUs = BigInt(Date.parse("9999-12-31T23:59:59.999Z")) * 1000n + 999n;
    expect(findEntryProblem("registry", told(own, lastUs))).toBeUndefined();
    expect(findEntryProblem("registry", told(own, lastUs + 1n))).toBe("of no time");
  });
});

describe("encodeQuarantineNotice", () => {
  const draft = encode({ service: "vault", action: "Login", actor: "a".repeat(1000) });
  const digest = createHash("sha256").update(draft).digest();
  const refused = {
    service: "registry",
    stream: "s",
    position: 7n,
    problem: "of another service",
    sizeBytes: draft.byteLength,
    digest,
  } as const;

  it("says whose entry it stands for, its digest, and what it claims, cut short", () => {
    const notice = tryReadEntry(encodeQuarantineNotice("vault", { ...refused, draft }));
    expect(notice).toMatchObject({
      service: "vault",
      action: "vault:quarantined-entry",
      result: AuditResult.FAILED,
      reason: "AUDIT_ENTRY_INVALID",
      actor: "registry",
      resource: "registry/s/7",
    });
    const fields = Object.fromEntries(
      (notice?.fields ?? []).map(({ name, value }) => [name, value]),
    );
    expect(fields).toEqual({
      problem: "of another service",
      sha256: digest.toString("hex"),
      size_bytes: String(draft.byteLength),
      claimed_service: "vault",
      claimed_action: "Login",
      claimed_actor: `${"a".repeat(256)}…`,
    });
  });

  it("is itself taken as it is, and the same each time", () => {
    const notice = encodeQuarantineNotice("registry", refused);
    expect(encodeQuarantineNotice("registry", refused)).toEqual(notice);
    const next = encodeQuarantineNotice("registry", { ...refused, position: 8n });
    expect(tryReadEntry(next)?.entryId).not.toBe(tryReadEntry(notice)?.entryId);
    expect(tryReadEntry(notice)?.entryId).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(findEntryProblem("registry", told(notice))).toBeUndefined();
  });
});
