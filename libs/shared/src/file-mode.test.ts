import { describe, expect, it } from "vitest";
import { keyFileModeProblem, processIdentity } from "./file-mode.ts";

const US = { uid: 1000, gids: [1000, 2000] };
const ROOT = { uid: 0, gids: [0] };
const file = (mode: number, uid = 1000, gid = 1000) => ({ mode: 0o100_000 | mode, uid, gid });

describe("keyFileModeProblem", () => {
  it("lets a file through that only its owner reads, and that is us", () => {
    expect(keyFileModeProblem(file(0o400), US)).toBeUndefined();
    expect(keyFileModeProblem(file(0o600), US)).toBeUndefined();
    expect(keyFileModeProblem(file(0o600, 1001), US)).toBe("belongs to another user");
    expect(keyFileModeProblem(file(0o600, 1001), ROOT)).toBeUndefined();
  });

  it("lets a Secret through that Kubernetes mounts for the group of the pod", () => {
    expect(keyFileModeProblem(file(0o440, 0, 1000), US)).toBeUndefined();
    // fsGroup is a group beside the process's own.
    expect(keyFileModeProblem(file(0o440, 0, 2000), US)).toBeUndefined();
    expect(keyFileModeProblem(file(0o440, 0, 1001), US)).toContain("has mode 0440");
    expect(keyFileModeProblem(file(0o440, 1000, 1000), US)).toContain("has mode 0440");
    expect(keyFileModeProblem(file(0o440, 0, 0), ROOT)).toContain("has mode 0440");
  });

  it("refuses every mode with more than that", () => {
    for (let mode = 0; mode <= 0o777; mode++) {
      const strict = (mode & 0o077) === 0;
      expect(keyFileModeProblem(file(mode), US) === undefined, mode.toString(8)).toBe(strict);
    }
  });
});

describe("processIdentity", () => {
  it("is what the kernel checks, with the groups beside the own one", () => {
    const { uid, gids } = processIdentity();
    expect(uid).toBe(process.geteuid?.());
    expect(gids).toContain(process.getegid?.());
    for (const gid of process.getgroups?.() ?? []) expect(gids).toContain(gid);
  });
});
