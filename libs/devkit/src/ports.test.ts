import { describe, expect, it, vi } from "vitest";
import { FETCH_BAD_PORTS, freePort } from "./ports.ts";

const { randomInt } = vi.hoisted(() => ({ randomInt: vi.fn<() => number>() }));
vi.mock("node:crypto", () => ({ randomInt }));

describe("FETCH_BAD_PORTS", () => {
  it.each([...FETCH_BAD_PORTS])(
    "holds %d, which fetch() refuses before it connects",
    async (port) => {
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toMatchObject({
        cause: { message: "bad port" },
      });
    },
  );
});

describe("freePort", () => {
  it("passes over a port that fetch() refuses", async () => {
    let next = 10_080;
    randomInt.mockImplementation(() => next++);
    expect(await freePort()).toBeGreaterThan(10_080);
  });
});
