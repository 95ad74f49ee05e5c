import { describe, expect, it } from "vitest";
import { Room } from "./room.ts";

/** Fills a namespace's share. Returns how many it took. */
function fill(room: Room, namespace: string, bytes = 1, part = 1): number {
  let taken = 0;
  for (; room.fits(namespace, bytes, part); taken += 1) room.shareOf(namespace).add(bytes);
  return taken;
}

describe("a room", () => {
  it("gives a namespace as much as it leaves free", () => {
    const room = new Room(900, 1_000_000);
    expect(fill(room, "a")).toBe(450);
    expect(fill(room, "b")).toBe(225);
    expect(fill(room, "c")).toBeGreaterThan(100);
    expect(room.messages).toBeLessThan(900);
  });

  it("counts bytes as it counts messages", () => {
    const room = new Room(1_000_000, 1_000);
    expect(fill(room, "a", 100)).toBe(5);
    expect(room.fits("b", 500)).toBe(true);
    expect(room.fits("b", 501)).toBe(false);
  });

  it("leaves those that need no waiting a part that others cannot wait in", () => {
    const room = new Room(900, 1_000_000);
    expect(fill(room, "a", 1, 0.5)).toBe(300);
    expect(room.fits("a", 1, 0.5)).toBe(false);
    expect(fill(room, "a")).toBe(150);
  });

  it("takes back what is let go, bytes before their messages", () => {
    const room = new Room(4, 100);
    const share = room.shareOf("a");
    share.add(50);
    expect(room.fits("a", 1)).toBe(false);
    share.letGo(50);
    expect(room).toMatchObject({ messages: 1, bytes: 0 });
    expect(room.fits("a", 50)).toBe(true);
    share.remove();
    expect(room.messages).toBe(0);
  });

  it("remembers no namespace that holds nothing", () => {
    const room = new Room(1_000, 1_000);
    const shares = Array.from({ length: 50 }, (_, i) => room.shareOf(`n${i}`));
    expect(room.size).toBe(1);
    for (let i = 0; i < 50; i += 1) room.shareOf(`n${i}`).add(1);
    expect(room.size).toBe(50);
    for (let i = 0; i < 50; i += 1) {
      const share = room.shareOf(`n${i}`);
      share.letGo(1);
      share.remove();
    }
    expect(room.size).toBe(1);
    expect(shares).toHaveLength(50);
  });
});
