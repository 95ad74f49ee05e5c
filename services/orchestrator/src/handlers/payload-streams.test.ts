import { describe, expect, it } from "vitest";
import { PayloadStreams } from "./payload-streams.ts";

describe("PayloadStreams", () => {
  it("gives a namespace its share of what may be under way, and takes places back", () => {
    const streams = new PayloadStreams();
    const places = Array.from({ length: 16 }, () => streams.open("default"));
    expect(() => streams.open("default")).toThrow(/at most 16/);
    for (let i = 0; i < 48; i += 1) streams.open(`other-${i % 4}`);
    expect(() => streams.open("one-more")).toThrow(/all have 64/);
    places[0]?.();
    streams.open("one-more")();
    streams.open("default");
    expect(() => streams.open("default")).toThrow(/PAYLOAD_STREAMS_BUSY|at most 16/);
  });
});
