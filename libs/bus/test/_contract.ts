/** What every driver of the bus does. */
import type { Bus, BusEvents, BusGap, BusMessage } from "@nexus/bus";
import { waitFor } from "@nexus/testkit";
import { afterEach, describe, expect, it } from "vitest";

/** How one driver is set up for the suite. */
export interface ContractHarness {
  /** Opens a bus; those of one harness meet. */
  open(replicaId: string, events: BusEvents): Bus;
  /** Opens a bus of another deployment, or hub. */
  openElsewhere(replicaId: string, events: BusEvents): Bus;
  /** Loses a message between two replicas after it was taken, and says more so that the loss can be noticed. */
  loseOne(from: TestBus, to: TestBus): Promise<void>;
}

/** A bus with a memory. */
export class TestBus {
  readonly bus: Bus;
  readonly heard: BusMessage[] = [];
  readonly gaps: BusGap[] = [];
  readonly peerWords: string[] = [];
  readonly failures: string[] = [];
  /** Why nothing was carried. */
  readonly losses: unknown[] = [];
  readonly counts = { published: 0, refused: 0, received: 0, connected: 0, again: 0 };

  constructor(open: (replicaId: string, events: BusEvents) => Bus, replicaId: string) {
    const { counts } = this;
    this.bus = open(replicaId, {
      published: (messages) => (counts.published += messages),
      refused: (messages) => (counts.refused += messages),
      received: (messages) => (counts.received += messages),
      gap: () => undefined,
      connected: (again) => (again ? (counts.again += 1) : (counts.connected += 1)),
      disconnected: (error) => this.losses.push(error),
      lag: () => undefined,
      subscriberFailed: (kind) => this.failures.push(kind),
    });
    this.bus.subscribe("word", {
      onMessage: (message) => this.heard.push(message),
      onGap: (gap) => this.gaps.push(gap),
    });
    this.bus.watchPeers({
      peerJoined: (id) => this.peerWords.push(`joined ${id}`),
      peerLost: (id) => this.peerWords.push(`lost ${id}`),
    });
  }

  /** The texts that were heard, with who said them. */
  get words(): string[] {
    return this.heard.map(({ from, body }) => `${from}: ${Buffer.from(body).toString()}`);
  }

  tell(to: string, text: string): boolean {
    return this.bus.publish(to, "word", Buffer.from(text));
  }

  tellAll(text: string): boolean {
    return this.bus.broadcast("word", Buffer.from(text));
  }

  async untilConnected(): Promise<void> {
    await waitFor(() => this.bus.isConnected, { what: `${this.bus.replicaId} to be connected` });
  }

  async untilHeard(count: number): Promise<void> {
    await waitFor(() => this.heard.length >= count, { what: `${count} messages` });
  }
}

/** Waits until all know each other. */
export async function untilMet(buses: readonly TestBus[]): Promise<void> {
  const isMet = ({ bus }: TestBus) => bus.isConnected && bus.peers.length === buses.length - 1;
  await waitFor(() => buses.every(isMet), { what: "the replicas to meet" });
}

/** Runs the suite on a driver. */
export function busContract(name: string, harness: () => ContractHarness): void {
  describe(`the ${name} bus`, () => {
    let opened: TestBus[] = [];

    afterEach(async () => {
      await Promise.all(opened.map(({ bus }) => bus[Symbol.asyncDispose]()));
      opened = [];
    });

    function open(replicaId: string, where: "here" | "elsewhere" = "here"): TestBus {
      const made = harness();
      const bus = new TestBus(
        (id, events) => (where === "here" ? made.open(id, events) : made.openElsewhere(id, events)),
        replicaId,
      );
      opened.push(bus);
      return bus;
    }

    async function openMet(...replicaIds: string[]): Promise<TestBus[]> {
      const buses = replicaIds.map((id) => open(id));
      await untilMet(buses);
      return buses;
    }

    it("carries a message to the one replica that it is for, in order", async () => {
      const [a, b, c] = (await openMet("a", "b", "c")) as [TestBus, TestBus, TestBus];
      for (let i = 0; i < 500; i += 1) expect(a.tell("b", `n${i}`)).toBe(true);
      await b.untilHeard(500);
      expect(b.words).toEqual(Array.from({ length: 500 }, (_, i) => `a: n${i}`));
      c.tellAll("end");
      await a.untilHeard(1);
      expect(c.words).toEqual([]);
      expect(a.words).toEqual(["c: end"]);
    });

    it("carries what is for everybody to all but the one who says it", async () => {
      const [a, b, c] = (await openMet("a", "b", "c")) as [TestBus, TestBus, TestBus];
      a.tellAll("one");
      a.tellAll("two");
      await b.untilHeard(2);
      await c.untilHeard(2);
      expect(b.words).toEqual(["a: one", "a: two"]);
      expect(c.words).toEqual(["a: one", "a: two"]);
      expect(a.words).toEqual([]);
    });

    it("carries any bytes, and empty ones, to the subscriber of their kind", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      const other: Uint8Array[] = [];
      b.bus.subscribe("other", {
        onMessage: ({ body }) => other.push(body),
        onGap: () => undefined,
      });
      const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => i % 256);
      a.bus.publish("b", "other", bytes);
      a.bus.publish("b", "other", new Uint8Array());
      a.bus.publish("b", "unheard", bytes);
      a.tell("b", "end");
      await b.untilHeard(1);
      expect(other.map((body) => Buffer.compare(body, bytes) === 0 || body.length)).toEqual([
        true,
        0,
      ]);
    });

    it("goes on when a subscriber throws", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      b.bus.subscribe("broken", {
        onMessage: () => {
          throw new Error("as a test");
        },
        onGap: () => undefined,
      });
      a.bus.publish("b", "broken", new Uint8Array());
      a.tell("b", "end");
      await b.untilHeard(1);
      expect(b.failures).toEqual(["broken"]);
    });

    it("has one subscriber for each kind, who may leave", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      const heard: string[] = [];
      const subscriber = {
        onMessage: ({ body }: BusMessage) => heard.push(Buffer.from(body).toString()),
        onGap: () => undefined,
      };
      const leave = b.bus.subscribe("kind", subscriber);
      expect(() => b.bus.subscribe("kind", subscriber)).toThrow(TypeError);
      a.bus.publish("b", "kind", Buffer.from("one"));
      a.tell("b", "end");
      await b.untilHeard(1);
      leave();
      a.bus.publish("b", "kind", Buffer.from("two"));
      a.tell("b", "end");
      await b.untilHeard(2);
      expect(heard).toEqual(["one"]);
    });

    it("does not take what is too large", async () => {
      const [a] = (await openMet("a", "b")) as [TestBus];
      expect(a.bus.publish("b", "word", new Uint8Array(8 * 1024 * 1024 + 1))).toBe(false);
      expect(a.counts.refused).toBe(1);
    });

    it("tells who joins and who leaves", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      expect(a.peerWords).toEqual(["joined b"]);
      await b.bus[Symbol.asyncDispose]();
      await waitFor(() => a.peerWords.length === 2, { what: "the farewell" });
      expect(a.peerWords).toEqual(["joined b", "lost b"]);
      expect(b.tell("a", "late")).toBe(false);
      const again = open("b");
      await waitFor(() => a.peerWords.length === 3, { what: "the return" });
      expect(a.peerWords.at(-1)).toBe("joined b");
      const told: string[] = [];
      a.bus.watchPeers({ peerJoined: (id) => told.push(id), peerLost: () => undefined });
      expect(told).toEqual(["b"]);
      await untilMet([a, again]);
      a.tell("b", "hello");
      await again.untilHeard(1);
      expect(again.words).toEqual(["a: hello"]);
    });

    it("tells a subscriber of a gap when something was lost, and goes on", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      a.tell("b", "before");
      await b.untilHeard(1);
      b.gaps.length = 0;
      await harness().loseOne(a, b);
      await waitFor(() => b.gaps.length > 0, { what: "a gap" });
      expect(b.gaps[0]).toEqual({ from: "a", cause: "lost" });
      const count = b.heard.length;
      a.tell("b", "after");
      await b.untilHeard(count + 1);
      expect(b.words.at(-1)).toBe("a: after");
    });

    it("does not meet another deployment", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      const stranger = open("b", "elsewhere");
      await stranger.untilConnected();
      await a.bus.remember("key", Buffer.from("ours"), 60_000);
      a.tell("b", "ours");
      a.tellAll("ours too");
      stranger.tell("a", "theirs");
      stranger.tellAll("theirs too");
      await b.untilHeard(2);
      b.tell("a", "end");
      await a.untilHeard(1);
      expect(a.words).toEqual(["b: end"]);
      expect(stranger.words).toEqual([]);
      expect(stranger.bus.peers).toEqual([]);
      expect(await stranger.bus.recall("key")).toBeUndefined();
    });

    it("keeps a value for all replicas until its time is over", async () => {
      const [a, b] = (await openMet("a", "b")) as [TestBus, TestBus];
      expect(await b.bus.recall("kept")).toBeUndefined();
      expect(await a.bus.remember("kept", Buffer.from("one"), 60_000)).toBe(true);
      expect(Buffer.from((await b.bus.recall("kept")) ?? []).toString()).toBe("one");
      await b.bus.remember("kept", Buffer.from("two"), 20);
      await waitFor(async () => (await a.bus.recall("kept")) === undefined, { what: "the end" });
    });
  });
}
