import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { processIdentity } from "@nexus/shared";
import { createTempFolder } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { readRootKeyFile } from "./root-key-file.ts";

describe("readRootKeyFile", () => {
  it("refuses what is no regular file, at once", async () => {
    const folder = await createTempFolder("key-file");
    try {
      const pipe = join(folder.path, "pipe");
      await promisify(execFile)("mkfifo", ["-m", "600", pipe]);
      const unsafe = { reason: "ROOT_KEY_UNSAFE" };
      await expect(readRootKeyFile(pipe, processIdentity())).rejects.toMatchObject(unsafe);
      const file = join(folder.path, "key");
      await writeFile(file, Buffer.alloc(32, 7).toString("base64"), { mode: 0o600 });
      expect(await readRootKeyFile(file, processIdentity())).toEqual(Buffer.alloc(32, 7));
    } finally {
      await folder.remove();
    }
  });
});
