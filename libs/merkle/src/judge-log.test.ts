import { describe, expect, it } from "vitest";
import { Frontier } from "./frontier.ts";
import { hashLeaf } from "./hashes.ts";
import { type LoggedLeaf, LogJudge, type TrustedCheckpoint } from "./judge-log.ts";

const leaf = (index: number, text = "leaf"): LoggedLeaf => {
  const bytes = Buffer.from(`${text} ${index}`);
  return { index, leaf: bytes, storedHash: hashLeaf(bytes) };
};

function log(size: number): LoggedLeaf[] {
  return Array.from({ length: size }, (_, index) => leaf(index));
}

function checkpoint(
  leaves: readonly LoggedLeaf[],
  size: number,
  source: TrustedCheckpoint["source"] = "log",
): TrustedCheckpoint {
  const tree = new Frontier();
  for (const { leaf: bytes } of leaves.slice(0, size)) tree.append(hashLeaf(bytes));
  return { origin: "test", size, root: tree.root(), source };
}

function judge(leaves: readonly LoggedLeaf[], checkpoints: readonly TrustedCheckpoint[]) {
  const judging = new LogJudge(checkpoints);
  for (const one of leaves) judging.add(one);
  return judging.finish();
}

const whole = log(20);
const states = [5, 12, 20].map((size) => checkpoint(whole, size));

describe("LogJudge", () => {
  it("finds nothing wrong with what was signed", () => {
    expect(judge(whole, states)).toMatchObject({
      leaves: 20,
      problem: undefined,
      agrees: { size: 20 },
    });
    expect(judge([], []).problem).toBeUndefined();
  });

  it("tells an edited leaf from an edited hash", () => {
    const edited = whole.map((one) =>
      one.index === 7 ? { ...leaf(7, "other"), storedHash: one.storedHash } : one,
    );
    expect(judge(edited, states).problem).toMatchObject({ kind: "edited", firstBadLeaf: 7 });
    const rehashed = whole.map((one) =>
      one.index === 7 ? { ...one, storedHash: hashLeaf(Buffer.of(1)) } : one,
    );
    expect(judge(rehashed, states).problem).toMatchObject({ kind: "hash", firstBadLeaf: 7 });
  });

  it("names the checkpoints between which everything was computed anew", () => {
    const rewritten = whole.map((one) => (one.index === 7 ? leaf(7, "other") : one));
    expect(judge(rewritten, states).problem).toEqual({
      kind: "edited",
      firstBadLeaf: 5,
      before: 12,
      source: "log",
    });
  });

  it("calls it a fork when only another's checkpoint disagrees", () => {
    const other = whole.map((one) => (one.index >= 12 ? leaf(one.index, "other") : one));
    const forked = [5, 12, 20].map((size) => checkpoint(other, size));
    const kept = checkpoint(whole, 15, "witness");
    expect(judge(other, [...forked, kept]).problem).toEqual({
      kind: "forked",
      firstBadLeaf: 12,
      before: 15,
      source: "witness",
    });
    const same = checkpoint(whole, 20, "pinned");
    expect(judge(other, [...forked, same]).problem).toMatchObject({
      kind: "forked",
      source: "pinned",
    });
  });

  it("names what is gone and what is not signed", () => {
    expect(judge(whole.slice(0, 17), states).problem).toMatchObject({
      kind: "truncated",
      firstBadLeaf: 17,
    });
    expect(judge(whole.toSpliced(3, 1), states).problem).toMatchObject({
      kind: "missing",
      firstBadLeaf: 3,
    });
    expect(judge(log(22), states).problem).toMatchObject({ kind: "unsigned", firstBadLeaf: 20 });
    const swapped = [...whole];
    [swapped[3], swapped[4]] = [leaf(4), leaf(3)];
    expect(judge(swapped, states).problem).toMatchObject({ kind: "reordered", firstBadLeaf: 3 });
  });

  it("believes what a leaf says of its own place", () => {
    const moved = whole.map((one) => ({ ...one, ownIndex: one.index === 6 ? 8 : one.index }));
    expect(judge(moved, states).problem).toMatchObject({ kind: "reordered", firstBadLeaf: 6 });
  });
});
