import type { Principal } from "@nexus/rpc";
import { CLOCK_SKEW_MS } from "./claims.ts";

/** One revocation in force. */
export interface RevocationEntry {
  /** What `id` names: one token (`jti`), a token family (`fam`), a principal, a role or the namespace itself. */
  readonly target: "token" | "family" | "principal" | "role" | "namespace";
  /** The tenant it is bound to: a token of another namespace is never covered, whatever its id. */
  readonly namespace: string;
  readonly id: string;
  /** For a principal, a role and a namespace: covers tokens issued at or before this moment. */
  readonly revokeTimeMs: number;
  /** After this moment every covered token has ended by itself. */
  readonly expireTimeMs: number;
}

/** The revocations that a verifier knows, and who wants to hear of new ones. */
export interface RevocationSet {
  /** Takes entries in and calls the listeners whose principals they cover. Adding one twice is harmless. */
  add(entries: readonly RevocationEntry[]): void;
  /** Says whether one of the entries covers the principal's token. */
  covers(principal: Principal): boolean;
  /** Calls fn once, as soon as an entry covers the principal; in the next microtask when one does already.
   * Returns the function that forgets it. */
  onRevoked(principal: Principal, fn: () => void): () => void;
  /** Forgets entries whose tokens have ended by themselves. */
  prune(nowMs: number): void;
  /** Entries held now. */
  readonly size: number;
}

interface Listener {
  readonly principal: Principal;
  readonly fn: () => void;
}

/** A namespace has no slash, so the parts of a key cannot run into each other. */
function keyOf(target: RevocationEntry["target"], namespace: string, id: string): string {
  return `${target}/${namespace}/${id}`;
}

function keysOf(principal: Principal): readonly string[] {
  const { namespace, tokenId, familyId, principalId, roles = [] } = principal;
  return [
    keyOf("token", namespace, tokenId),
    keyOf("family", namespace, familyId),
    keyOf("principal", namespace, principalId),
    keyOf("namespace", namespace, namespace),
    ...roles.map((role) => keyOf("role", namespace, role)),
  ];
}

/** These are whole already: whatever carries the id is taken back, also what is issued later. */
const WHOLE: ReadonlySet<RevocationEntry["target"]> = new Set(["token", "family"]);

function entryCovers(entry: RevocationEntry | undefined, principal: Principal): boolean {
  if (entry === undefined) return false;
  return WHOLE.has(entry.target) || principal.issuedAtMs <= entry.revokeTimeMs;
}

function later(a: RevocationEntry, b: RevocationEntry | undefined): RevocationEntry {
  if (b === undefined) return a;
  return {
    ...a,
    revokeTimeMs: Math.max(a.revokeTimeMs, b.revokeTimeMs),
    expireTimeMs: Math.max(a.expireTimeMs, b.expireTimeMs),
  };
}

/** Creates an empty set.
 *
 * It has no cap, because dropping an entry would revive a revoked token: its size is the number of revocations
 * within one token life, and each goes when it expires. Cost: covers is four map lookups and one for each role, none
 * while empty. */
export function createRevocationSet(): RevocationSet {
  const entries = new Map<string, RevocationEntry>();
  const listeners = new Map<string, Set<Listener>>();

  function covers(principal: Principal): boolean {
    if (entries.size === 0) return false;
    return keysOf(principal).some((key) => entryCovers(entries.get(key), principal));
  }

  function forget(listener: Listener): void {
    for (const key of keysOf(listener.principal)) {
      const waiting = listeners.get(key);
      waiting?.delete(listener);
      if (waiting?.size === 0) listeners.delete(key);
    }
  }

  function fire(key: string): void {
    for (const listener of listeners.get(key) ?? []) {
      if (!covers(listener.principal)) continue;
      forget(listener);
      listener.fn();
    }
  }

  return {
    add(added) {
      for (const entry of added) {
        const key = keyOf(entry.target, entry.namespace, entry.id);
        entries.set(key, later(entry, entries.get(key)));
        fire(key);
      }
    },
    covers,
    onRevoked(principal, fn) {
      const listener: Listener = { principal, fn };
      for (const key of keysOf(principal)) {
        const waiting = listeners.get(key);
        if (waiting === undefined) listeners.set(key, new Set([listener]));
        else waiting.add(listener);
      }
      // The revocation may have come between the caller's verify and this call.
      if (covers(principal)) {
        queueMicrotask(() => {
          if (!(listeners.get(keysOf(principal)[0] as string)?.has(listener) ?? false)) return;
          forget(listener);
          fn();
        });
      }
      return () => forget(listener);
    },
    prune(nowMs) {
      for (const [key, entry] of entries) {
        // A verifier still accepts a token within the skew after its end.
        if (entry.expireTimeMs + CLOCK_SKEW_MS < nowMs) entries.delete(key);
      }
    },
    get size() {
      return entries.size;
    },
  };
}
