import { describe, expect, it } from "vitest";
import type { CommandArguments, CommandContext } from "./command.ts";
import { readPassword } from "./password.ts";
import { createFakeTerminal } from "./terminal.fake.ts";

const ENV = { NEXUS_NEW_PASSWORD: "of the variable" };

async function read(isPiped: boolean, env: NodeJS.ProcessEnv): Promise<string> {
  const { terminal } = createFakeTerminal("what is piped\n");
  const ctx = { env, terminal, signal: new AbortController().signal } as unknown as CommandContext;
  const args = { isSet: () => isPiped } as unknown as CommandArguments;
  return readPassword(ctx, args, { prompt: "Password", variable: "NEXUS_NEW_PASSWORD" });
}

describe("readPassword", () => {
  it("takes what the command line says before what the environment holds", async () => {
    expect(await read(true, ENV)).toBe("what is piped");
    expect(await read(false, ENV)).toBe("of the variable");
    await expect(read(false, {})).rejects.toMatchObject({ reason: "USAGE" });
  });
});
