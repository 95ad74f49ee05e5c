import { NexusError } from "@nexus/shared";
import type { Transaction } from "../ports.ts";
import {
  keyChanged,
  keyDestroyed,
  keyDisabled,
  keyNotFound,
  keyVersionLimit,
} from "./key-errors.ts";
import type { NamedKey, NewKeyVersion } from "./named-key.ts";

/** Most versions of a key. */
export const KEY_VERSIONS_MAX = 10_000;

/** Adds a version that was made for the key as it was read. Errors: conflict/KEY_CHANGED when it is no longer that. */
export async function addNext(
  { keys }: Transaction,
  before: NamedKey,
  next: NewKeyVersion,
): Promise<NamedKey> {
  const locked = await keys.lock(before);
  if (locked === undefined) throw keyNotFound();
  if (locked.latestVersion !== before.latestVersion) throw keyChanged();
  assertMayRotate(locked);
  return keys.addVersion(locked, next);
}

/** Errors: precondition/KEY_DISABLED, KEY_DESTROYED; exhausted/KEY_VERSION_LIMIT. */
export function assertMayRotate({ state, latestVersion }: NamedKey): void {
  if (state === "destroyed") throw keyDestroyed();
  if (state === "disabled") throw keyDisabled();
  if (latestVersion >= KEY_VERSIONS_MAX) throw keyVersionLimit();
}

/** Says whether the work may succeed for the key as it is now. */
export function isKeyChanged(error: unknown): boolean {
  return NexusError.is(error, "conflict", "KEY_CHANGED");
}
