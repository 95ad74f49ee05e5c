/** What was found for topics lately, bounded by what it holds on to. */

/** What a match takes beside the references in it, its topic and its place here included, in references of 8 bytes. */
const MATCH_REFERENCES = 64;

/** Lists of references, of which the cache knows only how long they are. */
interface Match {
  readonly subscriptions: readonly unknown[];
  readonly ears: readonly unknown[];
  readonly farEars: readonly unknown[];
}

interface Kept<T> {
  readonly matches: Map<string, T>;
  /** References in them. */
  held: number;
}

/** Owns the remembered matches of all namespaces. One topic may have ten thousand subscribers and another none, so their number says
 * little. Over the limit, whoever holds most is forgotten, all of it: that is a namespace's own doing, and costs it a search for each topic. */
export class MatchCache<T extends Match> {
  readonly #referencesMax: number;
  readonly #byNamespace = new Map<string, Kept<T>>();
  #held = 0;

  constructor(referencesMax: number) {
    this.#referencesMax = referencesMax;
  }

  /** References that all matches hold. */
  get held(): number {
    return this.#held;
  }

  get(namespace: string, topic: string): T | undefined {
    return this.#byNamespace.get(namespace)?.matches.get(topic);
  }

  /** Keeps a match that is not kept yet; one that is too large by itself is not. */
  keep(namespace: string, topic: string, match: T): void {
    const { subscriptions, ears, farEars } = match;
    const references = MATCH_REFERENCES + subscriptions.length + ears.length + farEars.length;
    if (references > this.#referencesMax) return;
    while (this.#held + references > this.#referencesMax) this.forget(this.#largest());
    let kept = this.#byNamespace.get(namespace);
    if (kept === undefined) {
      kept = { matches: new Map(), held: 0 };
      this.#byNamespace.set(namespace, kept);
    }
    kept.matches.set(topic, match);
    kept.held += references;
    this.#held += references;
  }

  /** Who is interested in what has changed in a namespace. */
  forget(namespace: string): void {
    this.#held -= this.#byNamespace.get(namespace)?.held ?? 0;
    this.#byNamespace.delete(namespace);
  }

  #largest(): string {
    let largest = "";
    let most = 0;
    for (const [namespace, { held }] of this.#byNamespace) {
      if (held > most) [largest, most] = [namespace, held];
    }
    return largest;
  }
}
