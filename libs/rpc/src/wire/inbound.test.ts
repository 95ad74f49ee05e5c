import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { READ_BUFFER_BYTES, READ_BUFFER_MESSAGES } from "../limits.ts";
import { InboundStream } from "./inbound.ts";

/** A transport that counts how many messages were asked of it. */
function countingSource(size: number): { source: Readable; pushed(): number } {
  let pushed = 0;
  const source = new Readable({
    objectMode: true,
    read() {
      pushed += 1;
      setImmediate(() => this.push(Buffer.alloc(size, pushed)));
    },
  });
  return { source, pushed: () => pushed };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("InboundStream", () => {
  it("hands out messages in order and then ends", async () => {
    const inbound = new InboundStream((bytes) => bytes.toString());
    inbound.attach(Readable.from([Buffer.from("a"), Buffer.from("b")]));
    const seen: string[] = [];
    for await (const text of inbound) seen.push(text);
    expect(seen).toEqual(["a", "b"]);
    expect(inbound.end).toBe("ended");
  });

  it("reads ahead no further than its limits and the transport's own buffer", async () => {
    const few = countingSource(1);
    new InboundStream((bytes) => bytes).attach(few.source);
    const large = countingSource(READ_BUFFER_BYTES / 2);
    new InboundStream((bytes) => bytes).attach(large.source);
    await settle();
    expect(few.pushed()).toBeLessThanOrEqual(READ_BUFFER_MESSAGES + 17);
    expect(large.pushed()).toBeLessThanOrEqual(2 + 17);
  });

  it("goes on reading once the consumer has caught up", async () => {
    const { source } = countingSource(1);
    const inbound = new InboundStream((bytes) => bytes);
    inbound.attach(source);
    await settle();
    for (let i = 0; i < 100; i++) expect((await inbound.next()).done).toBe(false);
  });

  it("gives what came before a failure, then the failure", async () => {
    const source = new Readable({ objectMode: true, read: () => undefined });
    const inbound = new InboundStream((bytes) => bytes.toString());
    inbound.attach(source);
    for (let i = 0; i < 25; i++) source.push(Buffer.from(`${i}`));
    await settle();
    inbound.fail(new Error("broken"));
    for (let i = 0; i < 25; i++) {
      expect(await inbound.next()).toEqual({ value: `${i}`, done: false });
    }
    await expect(inbound.next()).rejects.toThrow("broken");
  });

  it("drops what is left when it is aborted", async () => {
    const source = new Readable({ objectMode: true, read: () => undefined });
    const inbound = new InboundStream((bytes) => bytes);
    inbound.attach(source);
    source.push(Buffer.from("a"));
    await settle();
    inbound.abort(new Error("gone"));
    await expect(inbound.next()).rejects.toThrow("gone");
  });

  it("ends with the error of a message that does not parse, and says so once", async () => {
    const ends: unknown[] = [];
    const inbound = new InboundStream(
      () => {
        throw new RangeError("not a message");
      },
      (...end) => void ends.push(end),
    );
    inbound.attach(Readable.from([Buffer.from("a"), Buffer.from("b")]));
    await expect(inbound.next()).rejects.toThrow("not a message");
    await expect(inbound.next()).rejects.toThrow("not a message");
    expect(ends).toEqual([["failed", new RangeError("not a message")]]);
  });

  it("says that its consumer left", async () => {
    const ends: unknown[] = [];
    const inbound = new InboundStream(
      (bytes) => bytes,
      (end) => void ends.push(end),
    );
    inbound.attach(countingSource(1).source);
    for await (const _ of inbound) break;
    expect(ends).toEqual(["abandoned"]);
    expect((await inbound.next()).done).toBe(true);
  });

  it("refuses two reads at once", async () => {
    const inbound = new InboundStream((bytes) => bytes);
    const first = inbound.next();
    await expect(inbound.next()).rejects.toThrow("before the previous next() settled");
    inbound.abort(new Error("over"));
    await expect(first).rejects.toThrow("over");
  });
});
