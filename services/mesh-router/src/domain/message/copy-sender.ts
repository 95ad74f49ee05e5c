import { PassingMap } from "@nexus/shared";
import type { Sender, Unsettled } from "./message.ts";
import type { SenderTally } from "./sender-tally.ts";

/** Remembers nothing: nobody waits for what becomes of a single copy. */
class NoUnsettled extends PassingMap<string, Unsettled> {
  override set(): this {
    return this;
  }
}

/** Sends the copies of a message to many, whose own outcome says for how many it was taken in. */
export class CopySender implements Sender {
  readonly namespace: string;
  readonly principalId: string;
  readonly many = true;
  readonly stream = undefined;
  readonly unsettled = new NoUnsettled();
  readonly tally: SenderTally;

  /** `tally` is the sender's. */
  constructor(
    { namespace, principalId }: Pick<Sender, "namespace" | "principalId">,
    tally: SenderTally,
  ) {
    this.tally = tally;
    this.namespace = namespace;
    this.principalId = principalId;
  }

  takeResult(): void {
    // The copies' ends are counted by the metrics only.
  }
}
