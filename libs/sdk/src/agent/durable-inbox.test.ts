import { create } from "@bufbuild/protobuf";
import { AckKind, type Delivery, DeliveryClass, DeliverySchema } from "@nexus/proto/mesh";
import { createSilentLogger } from "@nexus/shared";
import { beforeEach, describe, expect, it } from "vitest";
import { DurableInbox } from "./durable-inbox.ts";
import { Outbox } from "./outbox.ts";
import { TaskError } from "./task-error.ts";

interface Running {
  readonly messageId: string;
  readonly end: () => void;
  readonly fail: (error: Error) => void;
}

let running: Running[];
let said: { readonly deliveryId: string; readonly kind: AckKind }[];
let freed: number;
let inbox: DurableInbox;

beforeEach(() => {
  running = [];
  said = [];
  freed = 0;
  const outbox = new Outbox();
  outbox.ack = ({ deliveryId = "", kind = AckKind.UNSPECIFIED }) => said.push({ deliveryId, kind });
  inbox = new DurableInbox({
    outbox,
    logger: createSilentLogger(),
    handle: ({ messageId }) =>
      new Promise((resolve, reject) => {
        running.push({ messageId, end: resolve, fail: reject });
      }),
    onDone: () => {
      freed += 1;
    },
  });
});

const settled = () => new Promise((resolve) => setImmediate(resolve));

let deliveries = 0;
function take(messageId: string, more: { from?: string; generation?: number } = {}): Delivery {
  deliveries += 1;
  const delivery = create(DeliverySchema, {
    deliveryId: `d${deliveries}`,
    fromPrincipalId: more.from ?? "a",
    messageId,
    generation: more.generation ?? 0,
    deliveryClass: DeliveryClass.DURABLE,
    attempt: 1,
  });
  inbox.take(delivery, 1);
  return delivery;
}

const ids = () => running.map(({ messageId }) => messageId);
const kinds = () => said.map(({ kind }) => AckKind[kind]);

describe("DurableInbox", () => {
  it("handles one message of a sender at a time, and senders beside each other", async () => {
    take("m1");
    take("m2");
    take("n1", { from: "b" });
    expect(ids()).toEqual(["m1", "n1"]);
    running[0]?.end();
    await settled();
    expect(ids()).toEqual(["m1", "n1", "m2"]);
    expect(kinds()).toEqual(["DONE"]);
  });

  it("drops what was on its way when a message failed, and begins again at it", async () => {
    take("m1");
    take("m2");
    running[0]?.fail(new Error("not now"));
    await settled();
    expect(kinds()).toEqual(["RETRY"]);
    // On the wire when it failed.
    take("m3");
    expect(ids()).toEqual(["m1"]);
    take("m1", { generation: 1 });
    take("m2", { generation: 1 });
    expect(ids()).toEqual(["m1", "m1"]);
    running[1]?.end();
    await settled();
    expect(ids()).toEqual(["m1", "m1", "m2"]);
    expect(freed).toBe(4);
  });

  it("rejects what can never be handled, and goes on", async () => {
    take("m1");
    take("m2");
    running[0]?.fail(new TaskError({ reason: "NO_USE", message: "no use" }));
    await settled();
    expect(kinds()).toEqual(["REJECT"]);
    expect(ids()).toEqual(["m1", "m2"]);
  });

  it("acknowledges again what it handled, and what still runs under its new delivery", async () => {
    take("m1");
    running[0]?.end();
    await settled();
    take("m1");
    expect(ids()).toEqual(["m1"]);
    expect(kinds()).toEqual(["DONE", "DONE"]);
    take("m2");
    inbox.connectionLost();
    const again = take("m2");
    expect(ids()).toEqual(["m1", "m2"]);
    running[1]?.end();
    await settled();
    expect(said.at(-1)).toEqual({ deliveryId: again.deliveryId, kind: AckKind.DONE });
  });

  it("handles in order, however many wait, what has nothing to wait for behind what has", async () => {
    const order: string[] = [];
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    inbox = new DurableInbox({
      outbox: Object.assign(new Outbox(), { ack: () => undefined }),
      logger: createSilentLogger(),
      handle: ({ messageId }) => {
        order.push(messageId);
        if (messageId === "fails") throw new Error("not now");
        return messageId === "slow" ? gate : undefined;
      },
      onDone: () => {
        freed += 1;
      },
    });
    take("slow");
    const many = Array.from({ length: 20_000 }, (_, index) => `m${index}`);
    for (const messageId of many) take(messageId);
    expect(order).toEqual(["slow"]);
    open();
    await settled();
    expect(order).toEqual(["slow", ...many]);
    take("fails");
    expect(freed).toBe(many.length + 2);
  });

  it("forgets what it had not begun when the stream breaks", async () => {
    take("m1");
    take("m2");
    inbox.connectionLost();
    running[0]?.end();
    await settled();
    expect(ids()).toEqual(["m1"]);
    take("m2");
    expect(ids()).toEqual(["m1", "m2"]);
  });
});
