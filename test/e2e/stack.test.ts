import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SERVICE_NAMES } from "@nexus/devkit";
import { waitFor } from "@nexus/testkit";
import { describe, expect, it } from "vitest";
import { command, ROOT } from "./_command.ts";

describe("a service", () => {
  it("needs no other file of code than its own, as in its image", async () => {
    const folder = mkdtempSync(join(tmpdir(), "nexus-image-"));
    await Promise.all(
      SERVICE_NAMES.map(async (name) => {
        const home = join(folder, name);
        const built = join(ROOT, "services", name);
        cpSync(join(built, "package.json"), join(home, "package.json"));
        cpSync(join(built, "dist/bundle.js"), join(home, "dist/bundle.js"));
        const key = `NEXUS_${name.toUpperCase().replaceAll("-", "_")}_GRPC_PORT`;
        const program = join(home, "dist/bundle.js");
        const { stderr, stdout } = await command(process.execPath, [program], {
          env: { [key]: "99999" },
        });
        expect(stderr + stdout, name).toContain(key);
      }),
    );
    rmSync(folder, { recursive: true });
  });

  it("goes with the licences of the packages that it is made of", () => {
    const licences = readFileSync(join(ROOT, "services/registry/dist/bundle.licenses.txt"), "utf8");
    for (const name of ["@grpc/grpc-js", "@bufbuild/protobuf", "pg", "pino"]) {
      expect(licences).toMatch(new RegExp(`^${name} [0-9.]+ \\(`, "m"));
    }
    expect(licences).toMatch(/^Copyright .+ Brian Carlson$/m);
  });
});

describe("a stack", () => {
  it("refuses bad configuration and names every problem", async () => {
    const { code, stderr, stdout } = await command(
      process.execPath,
      [join(ROOT, "services/registry/dist/bundle.js")],
      { env: { NEXUS_REGISTRY_GRPC_PORT: "99999", NEXUS_REGISTRY_LOG_LEVEL: "loud" } },
    );
    expect(code).not.toBe(0);
    const output = stderr + stdout;
    for (const name of ["GRPC_PORT", "LOG_LEVEL", "DATABASE_URL", "CLIENT_SECRET"]) {
      expect(output).toContain(`NEXUS_REGISTRY_${name}`);
    }
  });

  it("leaves no process behind when its supervisor is killed", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "nexus-orphan-"));
    const supervisor = spawn(
      process.execPath,
      [join(import.meta.dirname, "fixtures/supervisor.mjs"), dataDir],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const pids = await new Promise<number[]>((resolve) => {
      supervisor.stdout.once("data", (chunk: Buffer) => {
        resolve(JSON.parse(chunk.toString()) as number[]);
      });
    });
    expect(pids).toHaveLength(7);
    supervisor.kill("SIGKILL");
    await waitFor(() => (pids.some(isAlive) ? undefined : true), {
      timeoutMs: 30_000,
      what: "every process of the stack to end",
    });
    rmSync(dataDir, { recursive: true, force: true });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process.
    return false;
  }
}
