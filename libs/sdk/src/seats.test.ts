import { describe, expect, it } from "vitest";
import { AGENTS_PER_CONNECTION, Seats } from "./seats.ts";

function takeMany(seats: Seats, gateway: string, count: number): number[] {
  return Array.from({ length: count }, () => seats.take(gateway).connection);
}

describe("Seats", () => {
  it("fill one connection to a gateway before the next", () => {
    const seats = new Seats();
    const connections = takeMany(seats, "a", 2 * AGENTS_PER_CONNECTION + 1);
    expect(connections.lastIndexOf(0)).toBe(AGENTS_PER_CONNECTION - 1);
    expect(connections.lastIndexOf(1)).toBe(2 * AGENTS_PER_CONNECTION - 1);
    expect(connections.at(-1)).toBe(2);
    expect(seats.take("b").connection).toBe(0);
  });

  it("are given again once left, however often", () => {
    const seats = new Seats();
    const first = seats.take("a");
    takeMany(seats, "a", AGENTS_PER_CONNECTION - 1);
    first.leave();
    first.leave();
    expect(takeMany(seats, "a", 2)).toEqual([0, 1]);
  });

  it("are counted anew when all have left, also for who left late", () => {
    const seats = new Seats();
    const first = seats.take("a");
    first.leave();
    takeMany(seats, "a", AGENTS_PER_CONNECTION);
    first.leave();
    expect(seats.take("a").connection).toBe(1);
  });
});
