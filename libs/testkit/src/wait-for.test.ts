import { describe, expect, it } from "vitest";
import { waitFor } from "./wait-for.ts";

describe("waitFor", () => {
  it("returns the first value that is there", async () => {
    let calls = 0;
    const value = await waitFor(() => (++calls < 3 ? undefined : "ready"), { what: "the value" });
    expect(value).toBe("ready");
  });

  it("treats a throw as not yet", async () => {
    let calls = 0;
    const attempt = () => {
      calls += 1;
      if (calls < 3) throw new Error("not yet");
      return calls;
    };
    await expect(waitFor(attempt, { what: "three calls" })).resolves.toBe(3);
  });

  it("names what it waited for and what it saw last", async () => {
    const never = () => {
      throw new Error("still closed");
    };
    await expect(waitFor(never, { timeoutMs: 20, what: "the door" })).rejects.toThrow(
      /timed out after 20 ms waiting for the door; last: still closed/,
    );
  });
});
