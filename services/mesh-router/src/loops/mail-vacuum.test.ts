import { createManualClock } from "@nexus/shared";
import { expect, it } from "vitest";
import { createMailVacuum, VACUUM_ROWS } from "./mail-vacuum.ts";

function tableOf(dead: number, tookMs: number) {
  const clock = createManualClock();
  const mail = {
    dead,
    times: 0,
    isSkipped: false,
    isBroken: false,
    vacuum: async () => {
      mail.times += 1;
      clock.advance(tookMs);
      if (mail.isBroken) throw new Error("it took too long");
      if (!mail.isSkipped) mail.dead = 0;
      return !mail.isSkipped;
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

it("has a sixth of the time at most", async () => {
  const { clock, mail, step } = tableOf(VACUUM_ROWS, 100);
  await step();
  mail.dead = VACUUM_ROWS;
  clock.advance(499);
  await step();
  expect(mail.times).toBe(1);
  clock.advance(1);
  await step();
  expect(mail.times).toBe(2);
});

it("comes again in a second where none was run, then later and later, up to a minute", async () => {
  const { clock, mail, step } = tableOf(VACUUM_ROWS, 1);
  mail.isSkipped = true;
  for (const [at, restMs] of [1, 2, 4, 8, 16, 32, 60, 60].map((s) => s * 1_000).entries()) {
    await step();
    clock.advance(restMs - 1);
    await step();
    expect(mail.times).toBe(at + 1);
    clock.advance(1);
  }
  mail.isSkipped = false;
  await step();
  mail.dead = VACUUM_ROWS;
  mail.isSkipped = true;
  clock.advance(5);
  await step();
  clock.advance(1_000);
  const { times } = mail;
  await step();
  expect(mail.times).toBe(times + 1);
});

it("does not rest for what failed", async () => {
  const { mail, step } = tableOf(VACUUM_ROWS, 5_000);
  mail.isBroken = true;
  await expect(step()).rejects.toThrow("too long");
  mail.isBroken = false;
  await step();
  expect(mail.times).toBe(2);
});

it("has failed at nothing when a stop cuts it off", async () => {
  const { mail, stop, step } = tableOf(VACUUM_ROWS, 100);
  mail.isBroken = true;
  stop.abort();
  await step();
  expect(mail.times).toBe(1);
});
