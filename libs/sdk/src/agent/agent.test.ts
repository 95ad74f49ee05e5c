import { createSilentLogger } from "@nexus/shared";
import { describe, expect, it } from "vitest";
import { createAgent } from "./agent.ts";

describe("createAgent", () => {
  const options = { agentId: "a", gateway: "127.0.0.1:1", logger: createSilentLogger() };

  it("starts nothing without a capability, and says so before anybody is asked", async () => {
    const listener = createAgent({ ...options, clientSecret: "s" }).onMessage("*", () => undefined);
    await expect(listener.start()).rejects.toMatchObject({
      kind: "invalid",
      reason: "CAPABILITY_MISSING",
    });
  });

  it("starts nothing without something to sign in with", async () => {
    const agent = createAgent(options).capability("text.upper@1.0.0", {}, () => "");
    await expect(agent.start()).rejects.toMatchObject({ reason: "CREDENTIALS_MISSING" });
  });
});
