import { DEFAULT_NAMESPACE, type NexusError } from "@nexus/shared";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Principal, TokenVerifier } from "../principal.ts";
import { guardToken } from "./token-guard.ts";

const DAY_MS = 86_400_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function principalFor(ttlMs: number): Principal {
  return {
    namespace: DEFAULT_NAMESPACE,
    principalId: "ann",
    kind: "user",
    scopes: [],
    tokenId: "t",
    familyId: "f",
    issuedAtMs: Date.now(),
    expiresAtMs: Date.now() + ttlMs,
  };
}

/** A verifier whose revocations the test makes; `already` makes one before the listener is known. */
function verifierFor({ already = false } = {}) {
  const listeners = new Set<() => void>();
  const verifier: TokenVerifier = {
    verify: () => Promise.reject(new Error("not asked")),
    onRevoked(_principal, fn) {
      listeners.add(fn);
      if (already) fn();
      return () => listeners.delete(fn);
    },
  };
  return { verifier, listeners };
}

function guarded(ttlMs: number, already = false) {
  const { verifier, listeners } = verifierFor({ already });
  const reasons: string[] = [];
  const end = (error: NexusError) => void reasons.push(error.reason);
  const guard = guardToken(principalFor(ttlMs), verifier, end);
  return { guard, listeners, reasons };
}

describe("guardToken", () => {
  it("ends once when the token expires, and lets go of the verifier", () => {
    const { listeners, reasons } = guarded(1_000);
    vi.advanceTimersByTime(999);
    expect(reasons).toEqual([]);
    vi.advanceTimersByTime(10_000);
    expect(reasons).toEqual(["TOKEN_EXPIRED"]);
    expect(listeners.size).toBe(0);
  });

  it("waits longer than one timer can", () => {
    const { reasons } = guarded(60 * DAY_MS);
    vi.advanceTimersByTime(59 * DAY_MS);
    expect(reasons).toEqual([]);
    vi.advanceTimersByTime(2 * DAY_MS);
    expect(reasons).toEqual(["TOKEN_EXPIRED"]);
  });

  it("ends at once for a token that has already ended or was already revoked", () => {
    expect(guarded(0).reasons).toEqual(["TOKEN_EXPIRED"]);
    const { listeners, reasons } = guarded(1_000, true);
    vi.advanceTimersByTime(2_000);
    expect(reasons).toEqual(["TOKEN_REVOKED"]);
    expect(listeners.size).toBe(0);
  });

  it("stays silent once released", () => {
    const { guard, listeners, reasons } = guarded(1_000);
    const [revoke] = listeners;
    guard.release();
    guard.release();
    revoke?.();
    vi.advanceTimersByTime(2_000);
    expect(reasons).toEqual([]);
  });
});
