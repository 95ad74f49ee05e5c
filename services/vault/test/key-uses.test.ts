import { waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcome } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";
import { createPlainKey, decrypt, encrypt } from "./_transit.ts";

let { fleet, vault, admin, pool, close } = {} as Suite;

beforeAll(async () => {
  ({ fleet, vault, admin, pool, close } = await openSuite());
});

afterAll(() => close());

describe("the uses of a plain key", () => {
  const reserved = async (name: string) => {
    const { versions } = await vault.keys.listKeyVersions({ name }, admin);
    return versions.map(({ version, usesReserved }) => [version, Number(usesReserved)]);
  };

  async function setUses(name: string, uses: number): Promise<void> {
    await pool.query(
      `UPDATE key_versions SET uses_reserved = $2
       WHERE key_id = (SELECT key_id FROM named_keys WHERE name = $1)`,
      [name, uses],
    );
  }

  it("are counted in blocks, and a restart wastes one and repeats none", async () => {
    const { name } = await createPlainKey(vault, admin);
    for (let use = 0; use < 5; use++) await encrypt(vault, admin, name);
    expect(await reserved(name)).toEqual([[1, 65_536]]);
    const fresh = await fleet.start();
    await encrypt(fresh, admin, name);
    expect(await reserved(name)).toEqual([[1, 131_072]]);
    await fresh.stop();
  });

  it("bring the next version at half of 2^32, without holding a use up", async () => {
    const { name } = await createPlainKey(vault, admin);
    await setUses(name, 2 ** 31 - 65_536);
    expect(await encrypt(vault, admin, name)).toMatch(/^nxg:v1:/);
    await waitFor(async () => (await encrypt(vault, admin, name)).startsWith("nxg:v2:"), {
      what: "the next version",
    });
    expect(await reserved(name)).toEqual([
      [2, 65_536],
      [1, 2 ** 31],
    ]);
  });

  it("are refused beyond 0.9 of 2^32, until the next version is there", async () => {
    const { name } = await createPlainKey(vault, admin);
    const text = await encrypt(vault, admin, name);
    await setUses(name, 3_865_470_566);
    const fresh = await fleet.start();
    expect(await outcome(encrypt(fresh, admin, name))).toBe("exhausted/KEY_EXHAUSTED");
    await waitFor(async () => (await encrypt(fresh, admin, name)).startsWith("nxg:v2:"), {
      what: "the next version",
    });
    expect(await decrypt(fresh, admin, name, text)).toBe("a secret");
    expect((await reserved(name)).at(-1)).toEqual([1, 3_865_470_566]);
    await fresh.stop();
  });
});
