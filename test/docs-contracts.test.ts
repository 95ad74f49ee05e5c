/** Keeps true what README says of clients in other languages: its folders hold all that the contracts import. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { ROOT, readText } from "./_manifests.ts";

const [command = ""] = /^python -m grpc_tools\.protoc .*$/m.exec(readText("README.md")) ?? [];

it("README's command for another language compiles every contract", () => {
  const folder = mkdtempSync(join(tmpdir(), "nexus-contracts-"));
  const file = join(folder, "contracts.binpb");
  // buf has a protoc of its own, which takes the same flags; generators for Python are not part of it.
  const offline = command
    .replace("python -m grpc_tools.protoc", "node_modules/.bin/buf alpha protoc")
    .replace("--python_out=. --grpc_python_out=.", `--descriptor_set_out=${file}`);
  try {
    expect(offline).not.toContain("python");
    execFileSync("sh", ["-c", offline], { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
    const { file: compiled } = fromBinary(FileDescriptorSetSchema, readFileSync(file));
    const services = compiled.flatMap((one) =>
      one.service.map(({ name }) => `${one.package}.${name}`),
    );
    expect(services).toEqual(
      expect.arrayContaining([
        "nexus.mesh.v1.AgentSessionService",
        "nexus.vault.v1.AuthService",
        "grpc.health.v1.Health",
      ]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 30_000);
