import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PayloadSchema } from "@nexus/proto/common";
import type { MessagingService, TailTopicResponseSchema } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { FRAME_ITEMS_MAX, WATCH_BUFFER_MAX } from "../domain/limits.ts";
import type { Published, TopicBook } from "../domain/topic/topic-book.ts";

/** What the watch needs. */
export interface WatchDeps {
  readonly topics: TopicBook;
}

/** Serves MessagingService.TailTopic. */
export function createTailTopic({
  topics,
}: WatchDeps): MethodImplementation<typeof MessagingService.method.tailTopic> {
  return async function* tailTopic({ pattern }, ctx) {
    const { namespace } = requirePrincipal(ctx);
    const heard = new Heard();
    const stop = topics.listen(namespace, pattern, (published) => heard.push(published));
    const stopLoss = topics.listenForLoss(() => heard.miss());
    const onAbort = (): void => heard.end();
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    try {
      // The first answer says that the watch holds.
      yield {};
      while (await heard.wait()) yield heard.take();
    } finally {
      ctx.signal.removeEventListener("abort", onAbort);
      stop();
      stopLoss();
    }
  };
}

/** What was published and not read yet. Bounded: what finds no room is counted. */
class Heard {
  #messages: Published[] = [];
  #missed = 0;
  #over = false;
  #wake: (() => void) | undefined;

  push(published: Published): void {
    if (this.#messages.length < WATCH_BUFFER_MAX) this.#messages.push(published);
    else this.#missed += 1;
    this.#wake?.();
  }

  /** Some did not come here: at least one. */
  miss(): void {
    this.#missed += 1;
    this.#wake?.();
  }

  end(): void {
    this.#over = true;
    this.#wake?.();
  }

  /** Resolves with false at the end. */
  async wait(): Promise<boolean> {
    if (this.#messages.length === 0 && this.#missed === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return !this.#over;
  }

  take(): MessageInitShape<typeof TailTopicResponseSchema> {
    const messages = this.#messages.splice(0, FRAME_ITEMS_MAX).map(toMessage);
    const missed = BigInt(this.#messages.length === 0 ? this.#missed : 0);
    if (missed > 0n) this.#missed = 0;
    return { messages, missed };
  }
}

function toMessage({ topic, from, subject, payload, acceptedAtMs }: Published) {
  return {
    topic,
    fromPrincipalId: from,
    subject: Buffer.from(subject).toString(),
    payload: fromBinary(PayloadSchema, payload),
    acceptTime: timestampFromMs(Math.floor(acceptedAtMs)),
  };
}
