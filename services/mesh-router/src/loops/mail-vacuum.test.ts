import { createManualClock } from "@nexus/shared";
import { expect, it } from "vitest";
import { createMailVacuum, VACUUM_ROWS } from "./mail-vacuum.ts";

function tableOf(deleted: number, tookMs: number) {
  const clock = createManualClock();
  const mail = {
    deleted,
    times: 0,
    isBroken: false,
    vacuum: async () => {
      mail.times += 1;
      clock.advance(tookMs);
      if (mail.isBroken) throw new Error("it took too long");
    },
  };
  return { clock, mail, step: createMailVacuum({ mail, clock }) };
}

it("leaves a table alone in which little was deleted", async () => {
  const { mail, step } = tableOf(VACUUM_ROWS - 1, 10);
  await step();
  expect(mail.times).toBe(0);
  mail.deleted += 1;
  await step();
  expect(mail.times).toBe(1);
});

it("takes a twentieth of the time, also when it fails", async () => {
  const { clock, mail, step } = tableOf(VACUUM_ROWS, 100);
  mail.isBroken = true;
  await expect(step()).rejects.toThrow("too long");
  clock.advance(1_999);
  await step();
  expect(mail.times).toBe(1);
  clock.advance(1);
  mail.isBroken = false;
  await step();
  expect(mail.times).toBe(2);
});
