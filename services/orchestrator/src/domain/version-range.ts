/** Semver ranges, parsed once: the only place that knows which library does it. */
import { NexusError } from "@nexus/shared";
import semver from "semver";

/** Most parsed ranges kept. Ranges come from users, so the memory of them is bounded. */
const RANGES_MAX = 4_096;
/** Most ranges of which it is kept what they find in one list of versions. */
const ANSWERS_MAX = 64;
const parsed = new Map<string, semver.Range>();
/** What was found before, by list of versions: an agent's list stays the same object for as long as it says the same. */
const found = new WeakMap<readonly string[], Map<string, string | undefined>>();

/** Parses a range; the empty text means any version, prereleases included.
 *
 * Errors: invalid/VERSION_RANGE_INVALID. */
export function assertVersionRange(range: string): void {
  if (!isVersionRange(range)) {
    throw new NexusError({
      kind: "invalid",
      reason: "VERSION_RANGE_INVALID",
      message: `"${range}" is not a semver range such as ^1.2.0.`,
    });
  }
}

/** Says whether a text is a semver range; the empty one is. */
export function isVersionRange(range: string): boolean {
  if (range === "" || parsed.has(range)) return true;
  if (semver.validRange(range) === null) return false;
  rangeOf(range);
  return true;
}

/** Returns the first of the versions that lies in the range, or undefined.
 *
 * Shape: `versions` sorted highest first, so that the best match is the first one; a list that is never changed.
 * Cost: comparing a version takes a microsecond, and this runs for every agent that is considered, so answers are kept. */
export function firstInRange(versions: readonly string[], range: string): string | undefined {
  if (range === "" || versions.length === 0) return versions[0];
  const answers = answersOf(versions);
  const known = answers.get(range);
  if (known !== undefined || answers.has(range)) return known;
  const test = rangeOf(range);
  const first = versions.find((version) => test.test(version));
  if (answers.size >= ANSWERS_MAX) answers.clear();
  answers.set(range, first);
  return first;
}

function answersOf(versions: readonly string[]): Map<string, string | undefined> {
  const known = found.get(versions);
  if (known !== undefined) return known;
  const made = new Map<string, string | undefined>();
  found.set(versions, made);
  return made;
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
