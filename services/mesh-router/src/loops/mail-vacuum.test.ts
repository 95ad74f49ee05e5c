import { createManualClock } from "@nexus/shared";
import { expect, it } from "vitest";
import { createMailVacuum, VACUUM_ROWS } from "./mail-vacuum.ts";

function tableOf(dead: number, tookMs: number) {
  const clock = createManualClock();
  const mail = {
    dead,
    times: 0,
    /** What an old snapshot keeps. */
    kept: 0,
    isBroken: false,
    vacuum: async () => {
      mail.times += 1;
      clock.advance(tookMs);
      if (mail.isBroken) throw new Error("it took too long");
      mail.dead = mail.kept;
    },
  };
  const stop = new AbortController();
  const vacuum = createMailVacuum({ mail, clock });
  return { clock, mail, stop, step: () => vacuum(stop.signal) };
}

it("leaves a table alone in which little is dead", async () => {
  const { mail, step } = tableOf(VACUUM_ROWS - 1, 10);
  await step();
  expect(mail.times).toBe(0);
  mail.dead += 1;
  await step();
  expect(mail.times).toBe(1);
});

it("tries again what it could not free, and takes a sixth of the time at most", async () => {
  const { clock, mail, step } = tableOf(VACUUM_ROWS, 100);
  mail.isBroken = true;
  await expect(step()).rejects.toThrow("too long");
  mail.isBroken = false;
  mail.kept = VACUUM_ROWS;
  for (const times of [2, 3]) {
    clock.advance(499);
    await step();
    expect(mail.times).toBe(times - 1);
    clock.advance(1);
    await step();
    expect(mail.times).toBe(times);
  }
});

it("has failed at nothing when a stop cuts it off", async () => {
  const { mail, stop, step } = tableOf(VACUUM_ROWS, 100);
  mail.isBroken = true;
  stop.abort();
  await step();
  expect(mail.times).toBe(1);
});
