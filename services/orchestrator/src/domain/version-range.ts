/** Semver ranges, parsed once: the only place that knows which library does it. */
import { NexusError } from "@nexus/shared";
import semver from "semver";

/** Most parsed ranges kept. Ranges come from users, so the memory of them is bounded. */
const RANGES_MAX = 4_096;
const parsed = new Map<string, semver.Range>();

/** Parses a range; the empty text means any version, prereleases included.
 *
 * Errors: invalid/VERSION_RANGE_INVALID. */
export function assertVersionRange(range: string): void {
  if (range !== "" && semver.validRange(range) === null) {
    throw new NexusError({
      kind: "invalid",
      reason: "VERSION_RANGE_INVALID",
      message: `"${range}" is not a semver range such as ^1.2.0.`,
    });
  }
}

/** Says whether a text is a semver range; the empty one is. */
export function isVersionRange(range: string): boolean {
  return range === "" || semver.validRange(range) !== null;
}

/** Returns the first of the versions that lies in the range, or undefined.
 *
 * Shape: `versions` sorted highest first, so that the best match is the first one. */
export function firstInRange(versions: readonly string[], range: string): string | undefined {
  if (range === "") return versions[0];
  const test = rangeOf(range);
  return versions.find((version) => test.test(version));
}

/** Sorts versions highest first; what is no version is left out. */
export function sortVersions(versions: readonly string[]): string[] {
  return semver.rsort(versions.filter((version) => semver.valid(version) !== null));
}

function rangeOf(range: string): semver.Range {
  const known = parsed.get(range);
  if (known !== undefined) return known;
  if (parsed.size >= RANGES_MAX) parsed.clear();
  const made = new semver.Range(range);
  parsed.set(range, made);
  return made;
}
