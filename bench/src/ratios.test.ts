import { describe, expect, it } from "vitest";
import type { Figure } from "./figure.ts";
import { ratiosOf } from "./ratios.ts";

const OWN: Figure = { key: "tasks_per_second", value: 9_000, load: "16 jobs" };
const GRAPHILE: Figure = { key: "graphile_tasks_per_second", value: 1_500, load: "8 000 jobs" };
const NO_REDIS: Figure = {
  key: "bullmq_tasks_per_second",
  value: null,
  load: "not measured: no Redis",
};

describe("ratiosOf", () => {
  it("divides our rate by the peer's", () => {
    expect(ratiosOf([OWN, GRAPHILE])).toEqual([
      expect.objectContaining({ key: "ratio_to_graphile", value: 6 }),
    ]);
  });

  it("divides durable messages by those of a peer that stores them, ephemeral ones by requests", () => {
    const rates = {
      durable_messages_per_second: 6_000,
      ephemeral_messages_per_second: 30_000,
      fanout_durable_messages_per_second: 4_000,
      jetstream_messages_per_second: 3_000,
      jetstream_fanout_messages_per_second: 8_000,
      nats_request_messages_per_second: 20_000,
    } as const;
    const figures = Object.entries(rates).map(([key, value]): Figure => {
      return { key: key as keyof typeof rates, value, load: "" };
    });
    const ratios = ratiosOf(figures).map(({ key, value }) => [key, value]);
    expect(ratios).toEqual([
      ["ratio_to_jetstream", 2],
      ["ratio_to_jetstream_fanout", 0.5],
      ["ratio_to_nats_request", 1.5],
    ]);
  });

  it("says of a peer that was not measured why there is no ratio", () => {
    expect(ratiosOf([NO_REDIS, OWN])).toEqual([
      { key: "ratio_to_bullmq", value: null, load: "not measured: no Redis" },
    ]);
  });

  it("sets logins beside the bare hash", () => {
    const logins: Figure = { key: "logins_per_second", value: 9, load: "4 in flight" };
    const hashes: Figure = { key: "bare_hashes_per_second", value: 10, load: "2 at once" };
    expect(ratiosOf([logins, hashes])).toEqual([
      { key: "ratio_of_logins", value: 0.9, load: "this run" },
    ]);
  });

  it("has nothing to say without a rate of our own", () => {
    expect(ratiosOf([GRAPHILE, NO_REDIS])).toEqual([]);
    expect(ratiosOf([])).toEqual([]);
  });
});
