/** What somebody with full rights on the database can do to the audit log, and who notices. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Frontier, hashLeaf } from "@nexus/merkle";
import { AuditEntrySchema } from "@nexus/proto/common";
import { waitFor } from "@nexus/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Exported, exported, judge, sequenced } from "./_audit.ts";
import { login } from "./_helpers.ts";
import { openSuite, type Suite } from "./_suite.ts";
import { createKey } from "./_transit.ts";

let { fleet, vault, admin, pool, close } = {} as Suite;

beforeEach(async () => {
  ({ fleet, vault, admin, pool, close } = await openSuite());
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 4 }, () => createKey(vault, admin)));
    await sequenced(pool);
  }
});

afterEach(() => close());

async function size(): Promise<number> {
  const { rows } = await pool.query<{ size: string }>(
    "SELECT max(tree_size) AS size FROM audit_checkpoints",
  );
  return Number(rows[0]?.size);
}

/** The state that a witness would have kept. */
async function witnessed(): Promise<string> {
  await sequenced(pool);
  return (await vault.audit.getCheckpoint({}, admin)).checkpoint;
}

async function problemOf(trusted: readonly string[] = []) {
  const log: Exported = await exported(vault, admin);
  return judge(log, trusted).problem;
}

/** Says that somebody else did it. */
async function rewrite(index: number, resource: string): Promise<Buffer> {
  const { rows } = await pool.query<{ leaf: Buffer }>(
    "SELECT leaf FROM audit_entries WHERE leaf_index = $1",
    [index],
  );
  const entry = fromBinary(AuditEntrySchema, rows[0]?.leaf ?? Buffer.of());
  const leaf = Buffer.from(toBinary(AuditEntrySchema, { ...entry, resource }));
  await pool.query("UPDATE audit_entries SET leaf = $2, resource = $3 WHERE leaf_index = $1", [
    index,
    leaf,
    resource,
  ]);
  return leaf;
}

/** Computes everything anew that follows from the leaves, as somebody who has read the code would. */
async function recompute(): Promise<Buffer> {
  const { rows } = await pool.query<{ leaf: Buffer }>(
    "SELECT leaf FROM audit_entries ORDER BY leaf_index",
  );
  const tree = new Frontier();
  const hashes = rows.map(({ leaf }) => hashLeaf(leaf));
  for (const hash of hashes) tree.append(hash);
  await pool.query("UPDATE audit_tiles SET hashes = $1 WHERE level = 0 AND tile_index = 0", [
    Buffer.concat(hashes),
  ]);
  return Buffer.from(tree.root());
}

describe("an auditor", () => {
  it("names the leaf that was edited", async () => {
    expect(await problemOf()).toBeUndefined();
    await rewrite(5, "nothing-to-see");
    expect(await problemOf()).toMatchObject({ kind: "edited", firstBadLeaf: 5 });
  });

  it("names the checkpoint that an edited log no longer fits, when all hashes were computed anew", async () => {
    const { rows } = await pool.query<{ size: string }>(
      "SELECT tree_size AS size FROM audit_checkpoints ORDER BY tree_size",
    );
    const sizes = rows.map((row) => Number(row.size));
    await rewrite(5, "nothing-to-see");
    await recompute();
    const problem = await problemOf();
    expect(problem?.kind).toBe("edited");
    const before = sizes.filter((checkpoint) => checkpoint <= 5).at(-1) ?? 0;
    const after = sizes.find((checkpoint) => checkpoint > 5);
    expect(problem?.firstBadLeaf).toBe(before);
    expect(problem?.before ?? before + 1).toBe(after);
  });

  it("names the first leaf that stands elsewhere", async () => {
    await pool.query("UPDATE audit_entries SET leaf_index = -1 WHERE leaf_index = 4");
    await pool.query("UPDATE audit_entries SET leaf_index = 4 WHERE leaf_index = 7");
    await pool.query("UPDATE audit_entries SET leaf_index = 7 WHERE leaf_index = -1");
    expect(await problemOf()).toMatchObject({ kind: "reordered", firstBadLeaf: 4 });
  });

  it("names the leaf that is gone", async () => {
    await pool.query("DELETE FROM audit_entries WHERE leaf_index = 6");
    expect(await problemOf()).toMatchObject({ kind: "missing", firstBadLeaf: 6 });
  });

  it("names the first of the newest that were cut off", async () => {
    const whole = await size();
    await pool.query("DELETE FROM audit_entries WHERE leaf_index >= $1", [whole - 3]);
    expect(await problemOf()).toMatchObject({ kind: "truncated", firstBadLeaf: whole - 3 });
  });

  it("needs what somebody else kept when the checkpoints were cut off as well", async () => {
    const kept = await witnessed();
    const log = await exported(vault, admin);
    const whole = await size();
    await cutOff(5);
    // Without another's checkpoint a shorter log looks like a younger one.
    expect(judge(shorter(log, 5)).problem).toBeUndefined();
    expect(judge(shorter(log, 5), [kept])).toMatchObject({
      problem: { kind: "truncated", firstBadLeaf: 5, source: "witness" },
    });
    expect(whole).toBeGreaterThan(5);
  });

  it("finds the fork when the log was cut off and signed another history", async () => {
    const kept = await witnessed();
    await vault.stop();
    await cutOff(5);
    // A replica that was not there goes on from what it finds: it has nothing to hold it against.
    vault = await fleet.start();
    admin = await login(vault);
    const whole = Number(kept.split("\n")[1]);
    while ((await size()) <= whole) {
      await createKey(vault, admin);
      await sequenced(pool);
    }
    expect(await problemOf()).toBeUndefined();
    const problem = await problemOf([kept]);
    expect(problem).toMatchObject({ kind: "forked", source: "witness" });
    expect(problem?.firstBadLeaf).toBeLessThanOrEqual(whole);
  });
});

/** An export of which only some leaves are left, and the checkpoints up to there. */
function shorter(log: Exported, leaves: number): Exported {
  const checkpoints = log.checkpoints.filter((note) => Number(note.split("\n")[1]) <= leaves);
  const frames = log.frames.map((frame) => structuredClone(frame));
  for (const { frame } of frames) {
    if (frame.case === "leaves") frame.value.leaves = frame.value.leaves.slice(0, leaves);
  }
  const covered = Number(checkpoints.at(-1)?.split("\n")[1] ?? 0);
  for (const { frame } of frames) {
    if (frame.case === "leaves") frame.value.leaves = frame.value.leaves.slice(0, covered);
  }
  return { ...log, checkpoints, frames };
}

/** Takes everything back to the newest checkpoint that has at most so many leaves, so that nothing stored contradicts it. */
async function cutOff(leaves: number): Promise<void> {
  const { rows } = await pool.query<{ size: string }>(
    "SELECT max(tree_size) AS size FROM audit_checkpoints WHERE tree_size <= $1",
    [leaves],
  );
  const kept = Number(rows[0]?.size);
  await pool.query("DELETE FROM audit_checkpoints WHERE tree_size > $1", [kept]);
  await pool.query("DELETE FROM audit_entries WHERE leaf_index >= $1", [kept]);
  await recompute();
}

describe("the log itself", () => {
  it("does not go on from fewer leaves than it has signed, and says so", async () => {
    await cutOff(5);
    const before = await size();
    await createKey(vault, admin);
    await expectAlarm();
    expect(await size()).toBe(before);
  });

  it("does not go on from a tree that is not the one of its checkpoint", async () => {
    const before = await size();
    await rewrite(0, "nothing-to-see");
    await recompute();
    await createKey(vault, admin);
    await expectAlarm();
    expect(await size()).toBe(before);
  });

  it("does not go on from a checkpoint that it did not sign", async () => {
    await vault.stop();
    await rewrite(0, "nothing-to-see");
    const root = await recompute();
    const { rows } = await pool.query<{ note: string }>(
      "SELECT note FROM audit_checkpoints ORDER BY tree_size DESC LIMIT 1",
    );
    const lines = (rows[0]?.note ?? "").split("\n");
    lines[2] = root.toString("base64");
    const forged = [lines.join("\n"), root, await size()];
    await pool.query(
      "UPDATE audit_checkpoints SET note = $1, root = $2 WHERE tree_size = $3",
      forged,
    );
    vault = await fleet.start();
    admin = await login(vault);
    await expectAlarm();
  });

  async function expectAlarm(): Promise<void> {
    await waitFor(
      async () => {
        const metrics = await (await fetch(`http://${vault.service.opsAddress}/metrics`)).text();
        return /audit_tampered_total [1-9]/.test(metrics);
      },
      { what: "the alarm" },
    );
  }
});
