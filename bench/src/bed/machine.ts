/** What the figures depend on besides NEXUS: the machine, and how busy it was with other things. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { arch, cpus, loadavg, platform, totalmem } from "node:os";
import { join } from "node:path";
import { KiB, MiB } from "@nexus/shared";
import { monotonicMs } from "../machine-clock.ts";
import type { Circumstances } from "../report.ts";
import { describeValues } from "../statistics.ts";
import { AGENTS, SLOTS } from "./fleet.ts";

const WRITES = 50;
/** A page of Postgres. */
const WRITE_BYTES = 8 * KiB;

/** Describes the machine; `folder` is where the database will be. */
export function describeMachine(
  folder: string,
  how: Pick<Circumstances, "quick" | "profiled">,
): Omit<Circumstances, "stolenShare"> {
  return {
    startedAt: new Date().toISOString(),
    ...how,
    cpu: cpus()[0]?.model.trim() ?? "unknown CPU",
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / (1024 * MiB)),
    node: process.versions.node,
    platform: `${platform()} ${arch()}`,
    loadAverage: loadavg()[0] ?? 0,
    fsyncP50Ms: measureDurableWrite(folder),
    fleet: `${AGENTS} agent processes with ${SLOTS} slots each, one client process`,
  };
}

/** Median time of a write with fdatasync, the way Postgres flushes its log. A folder in memory shows as a few microseconds. */
function measureDurableWrite(folder: string): number {
  const file = join(folder, "durable-write");
  const page = Buffer.alloc(WRITE_BYTES, 1);
  const descriptor = openSync(file, "w", 0o600);
  try {
    const times = Array.from({ length: WRITES }, (_, index) => {
      const beganAtMs = monotonicMs();
      writeSync(descriptor, page, 0, page.length, index * WRITE_BYTES);
      fdatasyncSync(descriptor);
      return monotonicMs() - beganAtMs;
    });
    return describeValues(times).p50;
  } finally {
    closeSync(descriptor);
    rmSync(file);
  }
}
