/** What a detector remembers, of a bounded number of subjects: those that were silent for the longest time are forgotten.
 *
 * Two generations: a subject that is met again moves to the younger one; when that holds half of the bound, the older one goes. So
 * the latest half is always there, and meeting a subject costs one look-up. */
export class SubjectMemory<S> {
  readonly #generationMax: number;
  #younger = new Map<string, S>();
  #older = new Map<string, S>();

  constructor(max: number) {
    this.#generationMax = Math.ceil(max / 2);
  }

  get size(): number {
    return this.#younger.size + this.#older.size;
  }

  /** The state of a subject, made when there is none. */
  of(subject: string, make: () => S): S {
    const young = this.#younger.get(subject);
    if (young !== undefined) return young;
    const old = this.#older.get(subject);
    this.#older.delete(subject);
    if (this.#younger.size >= this.#generationMax) {
      this.#older = this.#younger;
      this.#younger = new Map();
    }
    const state = old ?? make();
    this.#younger.set(subject, state);
    return state;
  }
}

/** Subjects that each detector remembers. */
export const SUBJECTS_MAX = 20_000;

/** Joins the parts of a subject's name. */
export function subjectOf(...parts: readonly string[]): string {
  return parts.join("\n");
}
