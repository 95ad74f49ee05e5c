import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bed, openBed } from "./_bed.ts";
import { CAMPAIGNS, LONE_CAMPAIGNS } from "./campaigns.ts";

let bed: Bed;

beforeAll(async () => {
  bed = await openBed();
}, 120_000);

afterAll(async () => {
  await bed[Symbol.asyncDispose]();
}, 60_000);

describe("three orchestrators keep their promises", () => {
  it.each(CAMPAIGNS.map((campaign) => [campaign.name, campaign] as const))(
    "under %s",
    async (_name, campaign) => {
      const lines: string[] = [];
      const verdict = await campaign.play(bed, {
        durationMs: campaign.shortMs,
        seed: 1,
        progress: (text) => lines.push(text),
      });
      expect(verdict.problems, lines.join("\n")).toEqual([]);
    },
    300_000,
  );
});

describe("a service alone keeps its promises", () => {
  it.each(LONE_CAMPAIGNS.map((campaign) => [campaign.name, campaign] as const))(
    "under %s",
    async (_name, campaign) => {
      const durationMs = campaign.shortMs;
      const verdict = await campaign.playAlone({ durationMs, seed: 1, progress: () => undefined });
      expect(verdict.problems).toEqual([]);
    },
    300_000,
  );
});
