import { beforeEach, describe, expect, it, vi } from "vitest";
import { KeptServer } from "./kept-server.ts";

/** A server of which the test says when a start fails, or is done. */
class ToyServer {
  readonly told: string[] = [];
  failures = 0;
  holdStart: Promise<void> | undefined;

  async stop(): Promise<void> {
    this.told.push("stop");
  }
  async kill(): Promise<void> {
    this.told.push("kill");
  }
  async restart(): Promise<void> {
    this.told.push("restart");
    await this.holdStart;
    if (this.failures === 0) return;
    this.failures -= 1;
    throw new Error("no");
  }
}

const DEATHS_MAX = 3;
let server: ToyServer;
let notices: string[];
let restarted: number;
let deaths: number;
let kept: KeptServer;

beforeEach(() => {
  server = new ToyServer();
  notices = [];
  restarted = 0;
  deaths = 0;
  kept = new KeptServer({
    name: "toy",
    logFile: "toy.log",
    onNotice: (notice) => notices.push(notice),
    onRestarted: () => {
      restarted += 1;
    },
    policy: {
      delayAfterDeath: () => {
        deaths += 1;
        return deaths > DEATHS_MAX ? undefined : 1;
      },
    },
  });
  kept.keep(server);
});

describe("a kept server", () => {
  it("is started again when it ends, and says so", async () => {
    kept.ended();
    await vi.waitFor(() => expect(restarted).toBe(1));
    expect(server.told).toEqual(["restart"]);
    expect(notices).toEqual(["toy ended unexpectedly, starts again in 1 ms"]);
  });

  it("is tried again when it does not start, until the policy gives up", async () => {
    server.failures = 2;
    kept.ended();
    await vi.waitFor(() => expect(restarted).toBe(1));
    expect(server.told).toEqual(["restart", "restart", "restart"]);
    expect(notices[1]).toBe("toy did not start (Error: no), starts again in 1 ms");
    deaths = 0;
    server.failures = Number.POSITIVE_INFINITY;
    kept.ended();
    await vi.waitFor(() => expect(notices.at(-1)).toMatch(/given up; see toy.log/));
    expect(server.told).toHaveLength(3 + DEATHS_MAX);
    expect(restarted).toBe(1);
  });

  it("stays down when it is taken down before it was started again", async () => {
    kept.ended();
    await kept.takeDown();
    await vi.waitFor(() => expect(notices).toHaveLength(1));
    // Behind everything that a recovery has queued by then.
    await new Promise((resolve) => setTimeout(resolve, 20));
    await kept.resume();
    expect(server.told).toEqual(["kill", "restart"]);
    expect(restarted).toBe(0);
  });

  it("does what it is told after the start that is under way", async () => {
    let go: () => void = () => undefined;
    server.holdStart = new Promise((resolve) => {
      go = resolve;
    });
    kept.ended();
    await vi.waitFor(() => expect(server.told).toEqual(["restart"]));
    const killed = kept.takeDown();
    expect(server.told).toEqual(["restart"]);
    go();
    await killed;
    expect(server.told).toEqual(["restart", "kill"]);
  });

  it("is killed before it is restarted as after a power cut", async () => {
    await kept.restart("kill");
    await kept.restart("stop");
    await kept.stop();
    expect(server.told).toEqual(["kill", "restart", "restart", "stop"]);
  });
});
