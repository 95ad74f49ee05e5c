import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NexusError } from "@nexus/shared";
import { expect, it } from "vitest";
import type { CommandArguments, CommandContext } from "../command.ts";
import { writeProfile } from "../profile.ts";
import { createFakeTerminal } from "../terminal.fake.ts";
import { passwdCommand } from "./passwd.ts";

const AWAY = new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });

it("ends well once the password is changed, though the login cannot be renewed", async () => {
  const home = mkdtempSync(join(tmpdir(), "nexus-passwd-"));
  try {
    const env = { NEXUS_CONFIG_DIR: home };
    writeProfile(env, {
      gateway: "127.0.0.1:1",
      principalId: "ada",
      namespace: "default",
      accessToken: "a.b.c",
      accessExpiresAtMs: 0,
      refreshToken: "refresh",
    });
    const { terminal, stdout, stderr } = createFakeTerminal("old one\nnew one\n");
    const auth = {
      changePassword: () => Promise.resolve({}),
      refreshToken: () => Promise.reject(AWAY),
    };
    const ctx = { env, terminal, client: () => ({ auth }), signal: new AbortController().signal };
    const args = { isSet: () => true } as unknown as CommandArguments;
    const code = await passwdCommand.run(ctx as unknown as CommandContext, args);
    expect([code, stdout()]).toEqual([0, expect.stringContaining("Changed the password")]);
    expect(stderr()).toContain("away (UNAVAILABLE). Log in again");
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
