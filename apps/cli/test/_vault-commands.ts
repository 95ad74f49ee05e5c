/** What the commands on secrets and keys print, with which code they end, and what they refuse. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@nexus/sdk";
import { waitFor } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import type { CommandStack } from "./_stack.ts";

/** Tests them on a stack of the caller's, which is there when they run. */
export function testVaultCommands(stack: () => CommandStack): void {
  const nexus = (...argv: string[]) => stack().nexus(...argv);
  const nexusWith = (input: string, ...argv: string[]) => stack().nexusWith(input, ...argv);

  describe("the nexus command on secrets", () => {
    const PATH = "app/cli";
    const secrets = (...args: string[]) => nexus("secrets", ...args);
    const put = (input: string, ...flags: string[]) =>
      nexusWith(input, "secrets", "put", PATH, ...flags);

    it("stores what it reads from standard input or a file, and prints it and nothing else", async () => {
      const first = await put("one\n", "--expect", "0");
      expect([first.code, first.stdout]).toEqual([0, `Stored version 1 of ${PATH}.\n`]);
      const file = join(stack().home, "value");
      writeFileSync(file, "two\n");
      expect((await put("", "--file", file)).code).toBe(0);
      expect((await put("three\n", "--raw")).code).toBe(0);
      const [newest, one, two, names, table] = await Promise.all([
        secrets("get", PATH, "-o", "json"),
        secrets("get", PATH, "--number", "1"),
        secrets("get", PATH, "--number", "2"),
        secrets("list", "app/", "-o", "name"),
        secrets("list"),
      ]);
      const value = Buffer.from("three\n").toString("base64");
      expect(JSON.parse(newest.stdout)).toMatchObject({ value, version: { version: 3 } });
      expect([one.stdout, two.stdout]).toEqual(["one", "two\n"]);
      expect(names.stdout).toContain(`${PATH}\n`);
      expect(table.stdout).toMatch(/app\/cli +3 /);
    });

    it("keeps a secret for tasks, from its put on or by its settings", async () => {
      const path = "app/fenced";
      const made = await nexusWith("one", "secrets", "put", path, "--task-required");
      expect(made.code).toBe(0);
      const scopes = ["vault:secret:read", "secret:app:read"].flatMap((one) => ["--scope", one]);
      const agent = await nexus("principals", "create", "fenced", "-o", "json", ...scopes);
      const { principalId, clientSecret } = JSON.parse(agent.stdout);
      const proof = { namespace: "default", principalId, clientSecret };
      const { tokens } = await stack().admin.auth.grantClientToken(proof);
      const read = () => stack().nexusAs(tokens?.accessToken ?? "", "secrets", "get", path);
      const refused = await read();
      expect([refused.code, refused.stderr]).toEqual([
        4,
        expect.stringContaining("SECRET_TASK_REQUIRED"),
      ]);
      expect((await secrets("list", path)).stdout).toMatch(/app\/fenced .* task/);
      const set = (word: string) => secrets("settings", path, "--task-required", word);
      expect((await set("no")).code).toBe(0);
      expect((await read()).stdout).toBe("one");
      expect((await set("yes")).code).toBe(0);
      expect((await read()).code).toBe(4);
      expect([(await set("maybe")).code, (await secrets("settings", path)).code]).toEqual([2, 2]);
    });

    it("deletes, brings back and destroys versions", async () => {
      expect((await secrets("delete", PATH)).stdout).toMatch(/^3 +deleted/m);
      expect((await secrets("get", PATH)).code).toBe(6);
      expect((await secrets("undelete", PATH, "--number", "3")).stdout).toMatch(/^3 +active/m);
      await secrets("destroy", PATH, "--number", "1", "--number", "2");
      const { stdout } = await secrets("versions", PATH);
      expect(stdout).toMatch(/^3 +active[^]*^2 +destroyed[^]*^1 +destroyed/m);
      expect((await secrets("destroy", PATH, "--all")).code).toBe(0);
      expect((await secrets("get", PATH)).code).toBe(3);
    });

    it("ends with the documented code for each kind of mistake, and shows no value", async () => {
      const mistakes = await Promise.all([
        put("hush", "--expect", "7"),
        put("hush".repeat(20_000)),
        put("hush", "--ttl", "soon"),
        put("", "--file", join(stack().home, "none")),
        secrets("destroy", PATH),
      ]);
      expect(mistakes.map(({ code }) => code)).toEqual([6, 2, 2, 2, 2]);
      for (const { stdout, stderr } of mistakes) expect(stdout + stderr).not.toContain("hush");
    });
  });

  describe("a role that is widened", () => {
    it("reaches whoever runs, with the next call that it was needed for", async () => {
      await nexusWith("hush", "secrets", "put", "billing/stripe");
      const give = (...scopes: string[]) =>
        nexus("roles", "put", "biller", ...scopes.flatMap((scope) => ["--scope", scope]));
      const narrow = await give("vault:secret:read");
      expect(narrow.stderr).toContain("What it gained reaches");
      const [principalId, password] = ["biller-1", "a long first password"];
      const make = ["principals", "create", principalId, "--kind", "user", "--password-stdin"];
      expect((await nexusWith(password, ...make)).code).toBe(0);
      await nexus("roles", "assign", principalId, "--role", "biller");
      const credentials = { kind: "password" as const, principalId, password };
      const { gateway } = stack().stack.info;
      await using client = createClient({ gateway, credentials });
      const read = () => client.secrets.getSecret({ path: "billing/stripe" });
      await expect(read()).rejects.toMatchObject({ reason: "SECRET_FORBIDDEN" });
      await give("vault:secret:read", "secret:billing:read");
      // A token that a refusal renewed a moment ago is not renewed again.
      const isRead = () =>
        read().then(
          ({ value }) => value.length > 0,
          () => false,
        );
      await waitFor(isRead, { what: "the role to reach its holder" });
    });
  });

  describe("the nexus command on keys", () => {
    const keys = (...args: string[]) => nexus("keys", ...args);

    it("makes, shows, turns, switches and destroys keys", async () => {
      const line = async (...args: string[]) => (await keys(...args)).stdout;
      expect(await line("create", "cli-key")).toMatch(/^cli-key +envelope +active +1 /m);
      expect(await line("rotate", "cli-key")).toMatch(/^cli-key +envelope +active +2 /m);
      expect(await line("disable", "cli-key")).toMatch(/^cli-key +envelope +disabled/m);
      expect(await line("enable", "cli-key")).toMatch(/^cli-key +envelope +active/m);
      const [shown, names, twice, odd, kept, none] = await Promise.all([
        keys("get", "cli-key", "-o", "json"),
        keys("list", "-o", "name"),
        keys("create", "cli-key"),
        keys("create", "odd", "--type", "rsa"),
        keys("destroy", "cli-key"),
        keys("get", "none"),
      ]);
      expect(JSON.parse(shown.stdout)).toMatchObject({
        key: { name: "cli-key", latestVersion: 2 },
      });
      expect(names.stdout).toContain("cli-key\n");
      expect([twice, odd, kept, none].map(({ code }) => code)).toEqual([6, 2, 6, 3]);
      expect(await line("destroy", "cli-key", "--allow")).toMatch(/^cli-key +envelope +destroyed/m);
    });

    it("encrypts, decrypts, rewraps, signs and verifies what it reads", async () => {
      const requestId = "cli-box";
      await stack().admin.keys.createKey({ requestId, name: "cli-box" });
      await keys("create", "cli-pen", "--type", "ed25519");
      const transit = (input: string, ...args: string[]) => nexusWith(input, "transit", ...args);
      const box = ["cli-box", "--resource", "order/7"];
      const sealed = (await transit("hush\n", "encrypt", ...box)).stdout;
      expect(sealed).toMatch(/^nxv:v1:/);
      await stack().admin.keys.rotateKey({ requestId: `${requestId}-2`, name: "cli-box" });
      const moved = (await transit(sealed, "rewrap", ...box)).stdout;
      expect(moved).toMatch(/^nxv:v2:/);
      const signature = (await transit("text", "sign", "cli-pen")).stdout.trim();
      const [opened, wrong, nowhere, valid, forged] = await Promise.all([
        transit(moved, "decrypt", ...box),
        transit(moved, "decrypt", "cli-box", "--resource", "order/8"),
        transit("x", "encrypt", "cli-box"),
        transit("text", "verify", "cli-pen", signature),
        transit("text!", "verify", "cli-pen", signature),
      ]);
      expect(opened).toMatchObject({ code: 0, stdout: "hush\n" });
      expect(wrong).toMatchObject({ code: 2, stdout: "" });
      expect(nowhere.code).toBe(2);
      expect(valid).toMatchObject({ code: 0, stdout: "valid\n" });
      expect(forged).toMatchObject({ code: 7, stdout: "not valid\n" });
    });
  });

  describe("the nexus command at vault's operator socket", () => {
    it("seals vault and opens it, with the root key that it reads or with the configured one", async () => {
      const data = join(stack().home, "data");
      const socket = ["--socket", join(data, "operator", "vault.sock")];
      const vault = async (...args: string[]) => {
        const { code, stdout } = await nexus("vault", ...args, ...socket);
        return [code, stdout];
      };
      expect(await vault("status")).toEqual([0, "open\n"]);
      expect(await vault("seal")).toEqual([0, "sealed\n"]);
      expect(await vault("status")).toEqual([7, "sealed: by_operator\n"]);
      const refused = await nexusWith("x", "secrets", "put", "app/while-sealed");
      expect([refused.code, refused.stderr]).toEqual([
        6,
        expect.stringMatching(/VAULT_SEALED[^]*hint: `nexus vault unseal`/),
      ]);
      const whole = await nexus("status");
      expect([whole.code, whole.stdout]).toEqual([
        5,
        expect.stringMatching(/vault +not_serving .*It is sealed/),
      ]);
      const guess = randomBytes(32).toString("base64");
      expect((await nexusWith(guess, "vault", "unseal", ...socket)).code).toBe(4);
      expect((await nexusWith("no key", "vault", "unseal", ...socket)).code).toBe(2);
      expect(await vault("status")).toEqual([7, "sealed: by_operator\n"]);
      expect(await vault("unseal", "--file", join(data, "root.key"))).toEqual([0, "open\n"]);
      expect(await vault("seal")).toEqual([0, "sealed\n"]);
      expect(await vault("unseal", "--configured")).toEqual([0, "open\n"]);
      expect(await vault("status")).toEqual([0, "open\n"]);
      expect((await vault("unseal", "--configured", "--file", join(data, "root.key")))[0]).toBe(2);
      expect((await nexus("vault", "status")).code).toBe(2);
      const none = join(data, "operator", "none.sock");
      expect((await nexus("vault", "status", "--socket", none)).code).toBe(5);
    });
  });
}
