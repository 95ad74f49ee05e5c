import { describe, expect, it } from "vitest";
import { FRAME_BYTES_MAX, TAIL_BYTES_MAX, WATCH_BUFFER_MAX } from "../limits.ts";
import { Room } from "../message/room.ts";
import { Tail } from "./tail.ts";

const LARGE = 256 * 1_024;
const room = () => new Room(1_000_000, 1_000_000_000);
const of = (topic: string, bytes = 1) => ({
  topic,
  from: "alice",
  subject: Buffer.from("s"),
  payload: Buffer.alloc(bytes),
  acceptedAtMs: 0,
});

function readAll(tail: Tail): { topics: string[]; missed: number; answerBytesMax: number }[] {
  const answers: { topics: string[]; missed: number; answerBytesMax: number }[] = [];
  for (;;) {
    const { messages, missed } = tail.take();
    if (messages.length === 0 && missed === 0) return answers;
    const bytes = messages.reduce((sum, { payload }) => sum + payload.byteLength, 0);
    answers.push({ topics: messages.map(({ topic }) => topic), missed, answerBytesMax: bytes });
  }
}

describe("Tail", () => {
  it("holds as many large messages as its bytes allow, and counts the others", () => {
    const tail = new Tail("a", room());
    const fitting = Math.floor(TAIL_BYTES_MAX / LARGE);
    for (let i = 0; i < fitting + 5; i += 1) tail.push(of(`t.${i}`, LARGE));
    const answers = readAll(tail);
    const shown = answers.flatMap(({ topics }) => topics);
    expect(shown.length).toBeLessThanOrEqual(fitting);
    expect(shown.length).toBeGreaterThanOrEqual(fitting - 1);
    const missed = answers.reduce((sum, answer) => sum + answer.missed, 0);
    expect(shown.length + missed).toBe(fitting + 5);
  });

  it("makes answers that fit into a message of the wire", () => {
    const tail = new Tail("a", room());
    for (let i = 0; i < 20; i += 1) tail.push(of(`t.${i}`, LARGE / 4));
    const answers = readAll(tail);
    expect(answers.length).toBeGreaterThan(1);
    for (const { answerBytesMax } of answers) {
      expect(answerBytesMax).toBeLessThanOrEqual(FRAME_BYTES_MAX);
    }
    expect(answers.flatMap(({ topics }) => topics)).toHaveLength(20);
  });

  it("gives a message alone that is larger than an answer", () => {
    const tail = new Tail("a", room());
    tail.push(of("t.1", FRAME_BYTES_MAX + 1));
    tail.push(of("t.2"));
    expect(readAll(tail).map(({ topics }) => topics)).toEqual([["t.1"], ["t.2"]]);
  });

  it("says before which message others were left out", () => {
    const tail = new Tail("a", room());
    for (let i = 0; i < WATCH_BUFFER_MAX + 3; i += 1) tail.push(of("t.early"));
    expect(tail.take().missed).toBe(0);
    tail.push(of("t.late"));
    const rest = readAll(tail);
    expect(rest.at(-1)).toMatchObject({ topics: ["t.late"], missed: 3 });
    expect(rest.slice(0, -1).every(({ missed }) => missed === 0)).toBe(true);
  });

  it("tells of losses when nothing follows them", async () => {
    const tail = new Tail("a", room());
    tail.miss();
    expect(await tail.wait()).toBe(true);
    expect(tail.take()).toEqual({ messages: [], missed: 1 });
  });

  it("shares a room with all others, and leaves it as it found it", () => {
    const shared = new Room(1_000, 2 * (LARGE + 1_024));
    const [first, second] = [new Tail("a", shared), new Tail("a", shared)];
    first.push(of("t.1", LARGE));
    second.push(of("t.1", LARGE));
    expect(second.take()).toEqual({ messages: [], missed: 1 });
    first.end();
    expect(shared.bytes).toBe(0);
    second.push(of("t.2", LARGE));
    expect(second.take().messages).toHaveLength(1);
    expect(shared.bytes).toBe(0);
    expect(shared.messages).toBe(0);
  });

  it("takes nothing more once it ended", async () => {
    const shared = room();
    const tail = new Tail("a", shared);
    tail.end();
    tail.push(of("t.1"));
    expect(await tail.wait()).toBe(false);
    expect(shared.messages).toBe(0);
  });
});
