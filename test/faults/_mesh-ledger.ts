/** What senders and receivers of durable messages said, in the order in which each said it, and what must be true of it. */
import { belowMinimum } from "./_campaign.ts";
import type { MeshWord } from "./_mesh-bed.ts";

/** How many receivers a message of a lane must come to: one that is named, one of many, or every one. */
export type Reach = "named" | "any" | "all";

/** A way from one sender to one address. */
export interface Lane {
  readonly name: string;
  readonly reach: Reach;
  /** Of `named`: who. */
  readonly receiver?: string;
  /** Fields of a Send. */
  readonly address: Readonly<Record<string, unknown>>;
}

/** One message, by what its sender said. Moments are positions in everything that was heard. */
interface Sent {
  readonly from: string;
  readonly lane: Lane;
  readonly number: number;
  readonly sentAt: number;
  storedAt: number | undefined;
  /** An outcome other than QUEUED was told: it was sent again behind others. */
  hasFailed: boolean;
  /** For a message to many: for how many there was no room. */
  missed: number;
}

const EXAMPLES_MAX = 5;

/** Owns what was said since it was last judged. */
export class MeshLedger {
  readonly #lanes: ReadonlyMap<string, Lane>;
  readonly #receivers: readonly string[];
  #sent = new Map<string, Sent>();
  /** By receiver, in the order in which they were handled first. */
  #handled = new Map<string, Set<string>>();
  #rejected = new Map<string, Set<string>>();
  readonly #next = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  readonly counts: Record<string, number> = {
    sent: 0,
    stored: 0,
    handled: 0,
    again: 0,
    retried: 0,
    rejected: 0,
  };
  #moment = 0;

  constructor(lanes: readonly Lane[], receivers: readonly string[]) {
    this.#lanes = new Map(lanes.map((lane) => [lane.name, lane]));
    this.#receivers = receivers;
  }

  /** Takes in a word of a sender or a receiver. */
  hear(who: string, word: MeshWord): void {
    this.#moment += 1;
    for (const id of (word["sent"] ?? []) as string[]) this.#noteSent(who, id);
    for (const one of (word["stored"] ?? []) as { id: string; missed: number }[]) {
      this.#noteStored(one);
    }
    for (const { id, why } of (word["failed"] ?? []) as { id: string; why: string }[]) {
      this.#failures.set(why, (this.#failures.get(why) ?? 0) + 1);
      const sent = this.#sent.get(id);
      if (sent !== undefined) sent.hasFailed = true;
    }
    this.#noteTaken(this.#handled, who, "handled", word);
    this.#noteTaken(this.#rejected, who, "rejected", word);
    if (word["again"] !== undefined) this.#count("again");
    if (word["retried"] !== undefined) this.#count("retried");
  }

  /** Where a sender's lane goes on: the numbers that are not known to be stored, in order, and the next one. */
  openOf(
    from: string,
    lane: string,
  ): { readonly unsure: readonly number[]; readonly next: number } {
    const unsure = [...this.#sent.values()]
      .filter(
        (sent) => sent.from === from && sent.lane.name === lane && sent.storedAt === undefined,
      )
      .map(({ number }) => number);
    return { unsure, next: this.#next.get(`${from}>${lane}`) ?? 0 };
  }

  get sent(): number {
    return this.counts["sent"] ?? 0;
  }

  get stored(): number {
    return this.counts["stored"] ?? 0;
  }

  /** What senders were told instead of QUEUED, and how often. */
  get failures(): string {
    return [...this.#failures].map(([why, count]) => `${why} ${count}`).join(", ");
  }

  /** Messages that are stored, or may be, and have not come to everyone whom they must come to. */
  get missing(): number {
    let missing = 0;
    for (const [id, sent] of this.#sent) {
      const { storedAt } = sent;
      if (storedAt === undefined || this.#takersOf(id).length < this.#neededOf(sent)) missing += 1;
    }
    return missing;
  }

  /** How many messages a receiver has refused for good. */
  get refused(): number {
    return this.counts["rejected"] ?? 0;
  }

  /** Judges everything that was heard, and forgets it. */
  judge(): string[] {
    const problems = [...this.#misplaced(), ...this.#astray()];
    this.#sent = new Map();
    this.#handled = new Map();
    this.#rejected = new Map();
    return problems;
  }

  #noteSent(who: string, id: string): void {
    const { from, lane: name, number } = partsOf(id);
    const lane = this.#lanes.get(name);
    if (from !== who || lane === undefined) throw new Error(`${who} sent ${id}`);
    this.#next.set(`${from}>${name}`, number + 1);
    const fresh = { storedAt: undefined, hasFailed: false, missed: 0 };
    this.#count("sent");
    this.#sent.set(id, { from, lane, number, sentAt: this.#moment, ...fresh });
  }

  #noteStored({ id, missed }: { readonly id: string; readonly missed: number }): void {
    const sent = this.#sent.get(id);
    if (sent === undefined || sent.storedAt !== undefined) return;
    sent.storedAt = this.#moment;
    sent.missed = missed;
    this.#count("stored");
  }

  #noteTaken(
    book: Map<string, Set<string>>,
    who: string,
    kind: "handled" | "rejected",
    word: MeshWord,
  ): void {
    const id = word[kind];
    if (typeof id !== "string") return;
    const taken = book.get(who) ?? new Set();
    book.set(who, taken);
    if (taken.has(id)) return;
    taken.add(id);
    this.#count(kind);
  }

  #takersOf(id: string): string[] {
    return this.#receivers.filter(
      (name) =>
        this.#handled.get(name)?.has(id) === true || this.#rejected.get(name)?.has(id) === true,
    );
  }

  #neededOf({ lane, missed }: Sent): number {
    return lane.reach === "all" ? this.#receivers.length - missed : 1;
  }

  /** Each receiver's view of each pair and address, against the order of its sender.
   *
   * What was stored before another one was first sent comes before it. And what was never refused comes before all that was sent behind
   * it: everything that is not sure is sent again in order. */
  #misplaced(): string[] {
    const problems: string[] = [];
    for (const [receiver, ids] of this.#handled) {
      const seen = new Map<string, { number: number; sentAt: number; id: string }>();
      for (const id of ids) {
        const sent = this.#sent.get(id);
        if (sent === undefined) continue;
        const pair = `${sent.from}>${sent.lane.name}`;
        const last = seen.get(pair);
        const isLate =
          last !== undefined && (sent.storedAt ?? Number.POSITIVE_INFINITY) < last.sentAt;
        if (last !== undefined && (isLate || (!sent.hasFailed && sent.number < last.number))) {
          problems.push(`${receiver} handled ${id} behind ${last.id}`);
        }
        if (last === undefined || sent.number > last.number) {
          seen.set(pair, { number: sent.number, sentAt: sent.sentAt, id });
        }
      }
    }
    return shortened(problems);
  }

  /** Messages that came to somebody whom they were not for, or to too many, or that nobody sent. */
  #astray(): string[] {
    const problems: string[] = [];
    for (const [id, sent] of this.#sent) {
      const takers = this.#takersOf(id);
      const { reach, receiver } = sent.lane;
      if (reach === "any" && takers.length > 1) {
        problems.push(`${id} came to ${takers.join(" and ")}`);
      }
      if (reach === "named" && takers.some((name) => name !== receiver)) {
        problems.push(`${id} came to ${takers.join(" and ")}`);
      }
      if (sent.missed > 0) problems.push(`${id} was told to have missed ${sent.missed}`);
    }
    for (const ids of this.#handled.values()) {
      for (const id of ids) if (!this.#sent.has(id)) problems.push(`nobody sent ${id} lately`);
    }
    return shortened(problems);
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Problems when too little was done to tell anything. */
  tooLittle(minimums: Readonly<Record<string, number>>): string[] {
    return belowMinimum(this.counts, minimums);
  }
}

function partsOf(id: string) {
  const arrow = id.indexOf(">");
  const colon = id.lastIndexOf(":");
  const number = Number(id.slice(colon + 1));
  return { from: id.slice(0, arrow), lane: id.slice(arrow + 1, colon), number };
}

function shortened(problems: readonly string[]): string[] {
  const more = problems.length - EXAMPLES_MAX;
  return more > 0 ? [...problems.slice(0, EXAMPLES_MAX), `... and ${more} more`] : [...problems];
}
