/** A request to many, which is over once enough have replied. */

import { PassingMap } from "@nexus/shared";
import type { Session } from "../session/session.ts";
import type { GatherTerms, SendResult, Verdict } from "./letter.ts";
import type { Sender, Unsettled, Withdrawable } from "./message.ts";
import type { SenderTally } from "./sender-tally.ts";

/** Stands for the asker towards each single request, and counts what becomes of them. */
export class Gathering implements Sender, Withdrawable {
  readonly kind = "gathering";
  readonly asker: Session;
  readonly messageId: string;
  readonly namespace: string;
  readonly principalId: string;
  readonly many = true;
  readonly stream = undefined;
  /** The single requests, by delivery id. */
  readonly unsettled = new PassingMap<string, Unsettled>();
  readonly tally: SenderTally;
  readonly #needed: number;
  readonly #mode: GatherTerms["mode"];
  readonly #onOver: (gathering: Gathering, verdict: Verdict) => void;
  #receivers = 0;
  #missed = 0;
  #replies = 0;
  #expired = 0;
  #settled = 0;
  #complete = false;
  over = false;

  constructor(init: {
    readonly asker: Session;
    readonly messageId: string;
    readonly terms: GatherTerms;
    /** The asker's. */
    readonly tally: SenderTally;
    readonly onOver: (gathering: Gathering, verdict: Verdict) => void;
  }) {
    const { asker, messageId, terms, onOver } = init;
    this.asker = asker;
    this.tally = init.tally;
    this.messageId = messageId;
    this.namespace = asker.namespace;
    this.principalId = asker.principalId;
    this.#mode = terms.mode;
    this.#needed = terms.mode === "first" ? 1 : terms.quorum;
    this.#onOver = onOver;
  }

  /** How far it is. */
  get counts() {
    return { receivers: this.#receivers, missed: this.#missed, replies: this.#replies };
  }

  /** One more was asked, or there was no room for it. */
  asked(taken: boolean): void {
    if (taken) this.#receivers += 1;
    else this.#missed += 1;
  }

  /** Everyone was asked. */
  complete(): void {
    this.#complete = true;
    this.#judge();
  }

  takeResult({ outcome }: SendResult): void {
    this.#settled += 1;
    if (outcome === "delivered") this.#replies += 1;
    else if (outcome === "expired") this.#expired += 1;
    this.#judge();
  }

  /** Its asker does not wait any more. */
  cancel(): void {
    this.#end({ outcome: "cancelled", text: "its sender took it back" });
  }

  #judge(): void {
    if (!this.#complete || this.over) return;
    const pending = this.#receivers - this.#settled;
    const needed = this.#mode === "all" ? this.#receivers + this.#missed : this.#needed;
    // Who asked all wants to see as many replies as there are.
    if (this.#replies >= needed) this.#end({ outcome: "delivered", text: "" });
    else if (this.#replies + pending < needed && (this.#mode !== "all" || pending === 0)) {
      this.#end(this.#failure());
    }
  }

  #failure(): Verdict {
    if (this.#expired > 0) {
      return { outcome: "expired", text: "not enough receivers answered in time" };
    }
    const text = "not enough receivers can answer any more";
    return { outcome: "refused", reason: "QUORUM_IMPOSSIBLE", text };
  }

  #end(verdict: Verdict): void {
    if (this.over) return;
    this.over = true;
    this.#onOver(this, verdict);
  }
}
