import { describe, expect, it } from "vitest";
import { RelayedStream } from "./relayed-stream.ts";

interface Ends {
  readonly ends: unknown[];
  readonly stream: RelayedStream;
}

function watch(source: AsyncIterable<Buffer>): Ends {
  const ends: unknown[] = [];
  const stream = new RelayedStream(source, {
    explain: (error) => new Error(`explained: ${(error as Error).message}`),
    onEnd: (error: unknown) => void ends.push(error),
  });
  return { ends, stream };
}

async function* one(after?: Error) {
  yield Buffer.from("1");
  await Promise.resolve();
  if (after !== undefined) throw after;
}

describe("RelayedStream", () => {
  it("passes messages on and says once that it went well", async () => {
    const { stream, ends } = watch(one());
    const read: string[] = [];
    for await (const message of stream) read.push(String(message));
    expect(read).toEqual(["1"]);
    await stream.next();
    await stream.return();
    expect(ends).toEqual([undefined]);
  });

  it("explains an error and says it once", async () => {
    const { stream, ends } = watch(one(new Error("broken")));
    await stream.next();
    await expect(stream.next()).rejects.toThrow("explained: broken");
    await stream.return();
    expect(ends.map(String)).toEqual(["Error: explained: broken"]);
  });

  it("reaches a source that waits when its reader leaves", async () => {
    let left = false;
    const waiting: AsyncIterable<Buffer> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: () => {
          left = true;
          return Promise.resolve({ value: undefined, done: true });
        },
      }),
    };
    const { stream, ends } = watch(waiting);
    void stream.next();
    expect(await stream.return()).toEqual({ value: undefined, done: true });
    expect([left, ends]).toEqual([true, [undefined]]);
  });
});
