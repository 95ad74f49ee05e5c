/** Capabilities prepared for matching, shared between all agents that registered the same one.
 *
 * A fleet of ten thousand agents has a handful of different capabilities: sharing keeps memory small, and lets a query judge
 * version, tags and text once per definition instead of once per agent.
 */
import { createHash } from "node:crypto";
import type { SemVer } from "semver";
import type { Capability } from "./agent.ts";
import { wordsOf } from "./text-tokens.ts";
import { tryParseVersion } from "./version-range.ts";

/** How much a word tells, by where it stands; the best place counts. */
export const WORD_IN_NAME = 1;
export const WORD_IN_TAG = 0.8;
export const WORD_IN_AGENT_NAME = 0.7;
export const WORD_IN_DESCRIPTION = 0.5;

/** A capability, parsed. Identity matters: equal capabilities are one object as long as anyone uses it. */
export interface CapabilityDefinition {
  readonly capability: Capability;
  readonly version: SemVer | undefined;
  readonly tags: ReadonlySet<string>;
  /** Word -> its weight. */
  readonly words: ReadonlyMap<string, number>;
}

/** Hands out one definition per distinct capability and forgets those that nobody uses. */
export class CapabilityDefinitions {
  readonly #entries = new Map<
    string,
    { readonly definition: CapabilityDefinition; uses: number }
  >();

  /** Distinct definitions in use. */
  get size(): number {
    return this.#entries.size;
  }

  /** Returns the shared definition; pair it with release(). */
  acquire(capability: Capability): CapabilityDefinition {
    const key = digestOf(capability);
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.uses += 1;
      return entry.definition;
    }
    const definition = define(capability);
    this.#entries.set(key, { definition, uses: 1 });
    return definition;
  }

  /** Gives one use back. */
  release(definition: CapabilityDefinition): void {
    const key = digestOf(definition.capability);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.uses -= 1;
    if (entry.uses === 0) this.#entries.delete(key);
  }
}

function define(capability: Capability): CapabilityDefinition {
  const words = new Map<string, number>();
  for (const word of wordsOf(capability.description)) words.set(word, WORD_IN_DESCRIPTION);
  for (const tag of capability.tags) {
    for (const word of wordsOf(tag)) words.set(word, WORD_IN_TAG);
  }
  for (const word of wordsOf(capability.name)) words.set(word, WORD_IN_NAME);
  return {
    capability,
    version: tryParseVersion(capability.version),
    tags: new Set(capability.tags),
    words,
  };
}

function digestOf(capability: Capability): string {
  const parts = [
    capability.name,
    capability.version,
    capability.description,
    capability.inputSchema,
    capability.outputSchema,
    capability.tags,
    capability.costMicros.toString(),
    capability.latencyHintUs ?? null,
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

/** Highest version first; versions that differ in build metadata only, or cannot be parsed, by text. */
export function byVersionDescending(a: CapabilityDefinition, b: CapabilityDefinition): number {
  if (a.version === undefined || b.version === undefined) {
    return Number(a.version === undefined) - Number(b.version === undefined);
  }
  const byPrecedence = b.version.compare(a.version);
  return byPrecedence === 0
    ? compareText(b.capability.version, a.capability.version)
    : byPrecedence;
}

/** Orders texts by code unit, the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
