import type { ProcessIdentity } from "@nexus/shared";
import { createLocalRootKeys, type RootKeyProvider, tryParseRootKey } from "../domain/root-key.ts";
import { readRootKeyFile } from "./root-key-file.ts";

/** A root key that the environment holds, as base64. It stays in the environment of the process, a seal or not; the
 * file provider does better. */
export function environmentRootKeys(
  current: string,
  previous: string | undefined,
): RootKeyProvider {
  const keyOf = (text: string): Buffer => {
    const key = tryParseRootKey(text);
    // The configuration has checked it.
    if (key === undefined) throw new Error("The root key has the wrong form.");
    return key;
  };
  return async () =>
    createLocalRootKeys(
      "environment",
      keyOf(current),
      previous === undefined ? undefined : keyOf(previous),
    );
}

/** A root key in a file, read at every unseal and forgotten at every seal. */
export function fileRootKeys(
  paths: { readonly current: string; readonly previous: string | undefined },
  identity: ProcessIdentity,
): RootKeyProvider {
  return async () => {
    const current = await readRootKeyFile(paths.current, identity);
    if (paths.previous === undefined) return createLocalRootKeys("file", current);
    try {
      const previous = await readRootKeyFile(paths.previous, identity);
      return createLocalRootKeys("file", current, previous);
    } catch (error) {
      current.fill(0);
      throw error;
    }
  };
}
