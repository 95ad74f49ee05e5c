import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { PayloadSchema } from "@nexus/proto/common";
import type { MessagingService, TailTopicResponseSchema } from "@nexus/proto/mesh";
import { type MethodImplementation, requirePrincipal } from "@nexus/rpc";
import { TAILS_BYTES_MAX, TAILS_MESSAGES_MAX } from "../domain/limits.ts";
import { Room } from "../domain/message/room.ts";
import { type Heard, Tail } from "../domain/topic/tail.ts";
import type { Published, TopicBook } from "../domain/topic/topic-book.ts";

/** What the watch needs. */
export interface WatchDeps {
  readonly topics: TopicBook;
}

/** Serves MessagingService.TailTopic. */
export function createTailTopic({
  topics,
}: WatchDeps): MethodImplementation<typeof MessagingService.method.tailTopic> {
  const room = new Room(TAILS_MESSAGES_MAX, TAILS_BYTES_MAX);
  return async function* tailTopic({ pattern }, ctx) {
    const { namespace } = requirePrincipal(ctx);
    const tail = new Tail(namespace, room);
    const stop = topics.listen(namespace, pattern, (published) => tail.push(published));
    const stopLoss = topics.listenForLoss(() => tail.miss());
    const onAbort = (): void => tail.end();
    ctx.signal.addEventListener("abort", onAbort, { once: true });
    try {
      // The first answer says that the watch holds.
      yield {};
      while (await tail.wait()) yield toAnswer(tail.take());
    } finally {
      ctx.signal.removeEventListener("abort", onAbort);
      stop();
      stopLoss();
      tail.end();
    }
  };
}

function toAnswer({ messages, missed }: Heard): MessageInitShape<typeof TailTopicResponseSchema> {
  return { messages: messages.map(toMessage), missed: BigInt(missed) };
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
