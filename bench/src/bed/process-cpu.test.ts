import process from "node:process";
import { describe, expect, it } from "vitest";
import { parseCoreTime, parseProcessCpu, readFamilyCpuSeconds } from "./process-cpu.ts";

describe("parseProcessCpu", () => {
  it("finds the times behind a name with blanks and parentheses", () => {
    const stat =
      "4242 (postgres: a (b) c) S 17 4242 4242 0 -1 4194304 900 800 0 0 150 50 1000 234 20 0 1 0 99 1 2";
    expect(parseProcessCpu(stat)).toEqual({
      parentPid: 17,
      seconds: 2,
      endedChildrenSeconds: 12.34,
    });
  });
});

describe("parseCoreTime", () => {
  it("counts a guest's time once, and finds what the host kept back", () => {
    const stat = "cpu  100 10 30 800 5 0 5 50 90 9\ncpu0 50 5 15 400 2 0 2 25 45 4\n";
    expect(parseCoreTime(stat)).toEqual({ all: 1_000, stolen: 50 });
  });
});

describe("readFamilyCpuSeconds", () => {
  it("knows nothing of a process that is not there", () => {
    expect(readFamilyCpuSeconds(2 ** 30)).toBeUndefined();
  });

  it("agrees with what a process says of itself", { skip: process.platform !== "linux" }, () => {
    const { user, system } = process.cpuUsage();
    const seconds = readFamilyCpuSeconds(process.pid) ?? 0;
    // The kernel counts in hundredths, and a child of this process may have used more.
    expect(seconds).toBeGreaterThan((user + system) / 1e6 - 0.1);
  });
});
