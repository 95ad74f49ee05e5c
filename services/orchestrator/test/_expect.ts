/** Expectations that several test files share. */
import { NexusError } from "@nexus/shared";
import { expect } from "vitest";

/** Expects a call to fail with this kind and reason, and returns the error. */
export async function expectError(
  call: Promise<unknown>,
  kind: string,
  reason: string,
): Promise<NexusError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(NexusError);
  const { kind: seenKind, reason: seenReason } = error as NexusError;
  expect([seenKind, seenReason]).toEqual([kind, reason]);
  return error as NexusError;
}

/** Takes a stream's messages until it ends or `until` is satisfied. */
export async function collect<T>(
  stream: AsyncIterable<T>,
  until: (all: readonly T[]) => boolean = () => false,
): Promise<T[]> {
  const all: T[] = [];
  for await (const message of stream) {
    all.push(message);
    if (until(all)) break;
  }
  return all;
}
