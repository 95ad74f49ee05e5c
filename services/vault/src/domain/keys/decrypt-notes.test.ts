import { createManualClock } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { DecryptNotes } from "./decrypt-notes.ts";
import type { VersionName } from "./named-key.ts";

const USE = { keyId: "key_1", version: 1 };

function setUp() {
  const clock = createManualClock();
  const state = { away: false, writes: [] as (readonly VersionName[])[] };
  const keys = {
    async markDecrypted(versions: readonly VersionName[]) {
      if (state.away) throw new Error("no database");
      state.writes.push(versions);
    },
  };
  return { notes: new DecryptNotes(keys, clock), state, clock };
}

describe("DecryptNotes", () => {
  it("writes the first use before it answers and the others in bulk", async () => {
    const { notes, state, clock } = setUp();
    await notes.note(USE);
    expect(state.writes).toEqual([[USE]]);
    for (let use = 0; use < 100; use++) await notes.note(USE);
    expect(state.writes.length).toBe(1);
    await notes.flush();
    expect(state.writes).toEqual([[USE], [USE]]);
    await notes.flush();
    expect(state.writes.length).toBe(2);
    clock.advance(12 * 3_600_000);
    await notes.note(USE);
    expect(state.writes.length).toBe(3);
  });

  it("fails no use while the database is away, and writes it later", async () => {
    const { notes, state } = setUp();
    state.away = true;
    await notes.note(USE);
    await expect(notes.flush()).rejects.toThrow("no database");
    state.away = false;
    await notes.flush();
    expect(state.writes).toEqual([[USE]]);
  });
});
