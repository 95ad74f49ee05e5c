import { describe, expect, it } from "vitest";
import { modeProblem } from "./root-key-file.ts";

const US = { uid: 1000, gid: 1000 };
const file = (mode: number, uid = 1000, gid = 1000) => ({ mode: 0o100_000 | mode, uid, gid });

describe("modeProblem", () => {
  it("lets a file through that only its owner reads, and that is us", () => {
    expect(modeProblem(file(0o400), US)).toBeUndefined();
    expect(modeProblem(file(0o600), US)).toBeUndefined();
    expect(modeProblem(file(0o600, 1001), US)).toBe("belongs to another user");
    expect(modeProblem(file(0o600, 1001), { uid: 0, gid: 0 })).toBeUndefined();
  });

  it("lets a Secret through that Kubernetes mounts for the group of the pod", () => {
    expect(modeProblem(file(0o440, 0, 1000), US)).toBeUndefined();
    expect(modeProblem(file(0o440, 0, 1001), US)).toContain("has mode 0440");
    expect(modeProblem(file(0o440, 1000, 1000), US)).toContain("has mode 0440");
    expect(modeProblem(file(0o440, 0, 0), { uid: 0, gid: 0 })).toContain("has mode 0440");
  });

  it("refuses every mode with more than that", () => {
    for (let mode = 0; mode <= 0o777; mode++) {
      const strict = (mode & 0o077) === 0;
      expect(modeProblem(file(mode), US) === undefined, mode.toString(8)).toBe(strict);
    }
  });
});
