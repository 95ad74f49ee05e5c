/** Semver ranges as discovery asks for them. */
import { createLfuCache, NexusError } from "@nexus/shared";
import { parse, Range, type SemVer } from "semver";

/** Parsed ranges kept: the same few are asked for again and again, and a caller that makes up a new one for each call must not push
 * them out, so those asked for least often go first. Ranges do not age, nor do the counts. */
const RANGES_MAX = 1_000;

/** A parsed range; undefined means any version. */
export type VersionRange = Range | undefined;

/** Parses ranges, remembering RANGES_MAX of them. */
export interface VersionRangeParser {
  /** The empty text means any version, also prereleases, which other ranges leave out unless they name one.
   *
   * Errors: invalid/VERSION_RANGE_INVALID. */
  parse(text: string): VersionRange;
}

/** Creates a parser with a cache of its own. */
export function createVersionRangeParser(): VersionRangeParser {
  const cache = createLfuCache<string, Range>({ max: RANGES_MAX });
  return {
    parse: (text) => {
      if (text.trim() === "") return undefined;
      const known = cache.get(text);
      if (known !== undefined) return known;
      const range = parseRange(text);
      cache.set(text, range);
      return range;
    },
  };
}

function parseRange(text: string): Range {
  try {
    return new Range(text);
  } catch (error) {
    const description = "must be a semver range such as ^1.2.0 or >=1 <3";
    throw new NexusError({
      kind: "invalid",
      reason: "VERSION_RANGE_INVALID",
      message: `The version range ${description}.`,
      details: { fieldViolations: [{ field: "version_range", description }] },
      cause: error,
    });
  }
}

/** Parses a version; undefined when it is no semver 2.0.0 version, e.g. because of a leading zero. */
export function tryParseVersion(version: string): SemVer | undefined {
  return parse(version) ?? undefined;
}
