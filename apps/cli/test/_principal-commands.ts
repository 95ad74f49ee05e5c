/** What the commands on passwords and principals do, and with which code they end. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CommandStack } from "./_stack.ts";

/** Tests them on a stack of the caller's, which is there when they run. */
export function testPrincipalCommands(stack: () => CommandStack): void {
  const nexus = (...argv: string[]) => stack().nexus(...argv);
  const nexusWith = (input: string, ...argv: string[]) => stack().nexusWith(input, ...argv);

  const FIRST = "the first password";
  const login = async (principalId: string, password: string) => {
    const { auth } = stack().admin;
    return (await auth.login({ namespace: "default", principalId, password })).tokens;
  };
  const createUser = async (principalId: string) => {
    const wanted = ["--kind", "user", "--password-stdin"];
    const made = await nexusWith(FIRST, "principals", "create", principalId, ...wanted);
    expect(made.code).toBe(0);
  };

  describe("the nexus command on passwords and principals", () => {
    it("changes one's own password and stays logged in", async () => {
      await createUser("changer");
      const profile = join(stack().home, "profile.json");
      const admins = readFileSync(profile);
      try {
        const { accessToken = "" } = (await login("changer", FIRST)) ?? {};
        expect((await nexusWith(FIRST, "login", "changer", "--password-stdin")).code).toBe(0);
        const passwd = (input: string) => nexusWith(input, "passwd", "--password-stdin");
        const wrong = await passwd("a guess\na new password\n");
        expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining("PASSWORD_WRONG")]);
        expect((await passwd(FIRST)).code).toBe(2);
        expect((await passwd(`${FIRST}\na new password\n`)).code).toBe(0);
        expect((await nexus("whoami")).stdout).toContain("changer in namespace default");
        expect((await stack().nexusAs(accessToken, "whoami")).code).toBe(4);
        await expect(login("changer", FIRST)).rejects.toThrow();
        expect((await login("changer", "a new password"))?.accessToken).toBeTruthy();
      } finally {
        writeFileSync(profile, admins);
      }
    });

    it("gives a user another password", async () => {
      await createUser("forgetful");
      const set = await nexusWith(
        "a new password\n",
        ...["principals", "password", "forgetful", "--password-stdin"],
      );
      expect([set.code, set.stdout]).toEqual([0, expect.stringContaining("forgetful")]);
      await expect(login("forgetful", FIRST)).rejects.toThrow();
      expect((await login("forgetful", "a new password"))?.accessToken).toBeTruthy();
      const own = ["principals", "password", "admin", "--password-stdin"];
      expect((await nexusWith("a new password\n", ...own)).code).toBe(6);
    });

    it("enables who was disabled", async () => {
      await createUser("returner");
      await nexus("principals", "disable", "returner");
      await expect(login("returner", FIRST)).rejects.toThrow();
      expect((await nexus("principals", "enable", "returner")).stdout).toBe("Enabled returner.\n");
      expect((await login("returner", FIRST))?.accessToken).toBeTruthy();
      expect((await nexus("principals", "enable", "nobody-there")).code).toBe(3);
    });

    it("unlocks who was locked out", async () => {
      await createUser("locked");
      for (let i = 0; i < 5; i++) await login("locked", "a guess").catch(() => undefined);
      await expect(login("locked", FIRST)).rejects.toThrow();
      const refused = await nexusWith(FIRST, "login", "locked", "--password-stdin");
      expect([refused.code, refused.stderr]).toEqual([
        4,
        expect.stringMatching(/CREDENTIALS_INVALID[^]*hint: .*locked.*`nexus principals unlock`/),
      ]);
      expect((await nexus("principals", "unlock", "locked")).stdout).toBe("Unlocked locked.\n");
      expect((await login("locked", FIRST))?.accessToken).toBeTruthy();
    });

    it("sets the scopes of a principal", async () => {
      await createUser("narrow");
      const set = (...flags: string[]) => nexus("principals", "scopes", "narrow", ...flags);
      const two = await set("--scope", "vault:secret:read", "--scope", "secret:billing:read");
      expect(two.stdout).toBe("Scopes of narrow: vault:secret:read secret:billing:read\n");
      expect((await login("narrow", FIRST))?.principal?.scopes).toHaveLength(2);
      expect((await set()).code).toBe(2);
      expect((await set("--none")).code).toBe(0);
      expect((await login("narrow", FIRST))?.principal?.scopes).toEqual([]);
    });
  });
}
