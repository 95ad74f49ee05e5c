/** Produces everything that is generated: third-party .proto files, then TypeScript for every contract.
 *
 * Works offline: the third-party sources come from npm packages that carry them or their descriptors.
 * Skips the whole run when no input has changed since the last one, so that a build costs nothing twice.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { printProto } from "./print-proto.ts";

const root = join(import.meta.dirname, "..");
const thirdParty = join(root, "third_party");
const output = join(root, "libs/proto/src/gen");
const stamp = join(output, ".stamp");
/** Contracts of gRPC itself, each in the package of its reference implementation. */
const GRPC_FILES = [
  { source: "grpc-health-check/proto", path: "health/v1/health.proto" },
  { source: "@grpc/reflection/build/proto/grpc", path: "reflection/v1/reflection.proto" },
  { source: "@grpc/reflection/build/proto/grpc", path: "reflection/v1alpha/reflection.proto" },
];
const GOOGLE_RPC_FILES = ["code.proto", "error_details.proto", "status.proto"];

const inputs = inputDigest();
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== inputs) {
  writeThirdParty();
  execFileSync(join(root, "node_modules/.bin/buf"), ["generate"], { cwd: root, stdio: "inherit" });
  writeDomainIndexes();
  writeFileSync(stamp, inputs);
}

function writeThirdParty(): void {
  rmSync(thirdParty, { recursive: true, force: true });
  const validate = join(thirdParty, "buf/validate/validate.proto");
  mkdirSync(dirname(validate), { recursive: true });
  writeFileSync(validate, printProto(file_buf_validate_validate.proto));
  const rpc = join(thirdParty, "google/rpc");
  mkdirSync(rpc, { recursive: true });
  for (const name of GOOGLE_RPC_FILES) {
    cpSync(join(root, "node_modules/google-proto-files/google/rpc", name), join(rpc, name));
  }
  for (const { source, path } of GRPC_FILES) {
    const file = join(thirdParty, "grpc", path);
    mkdirSync(dirname(file), { recursive: true });
    cpSync(join(root, "node_modules", source, path), file);
  }
}

/** One module per domain, so that `@nexus/proto/registry` is all a reader has to know. */
function writeDomainIndexes(): void {
  for (const domain of readdirSync(join(output, "nexus"))) {
    const files = readdirSync(join(output, "nexus", domain, "v1"));
    const lines = files.map((file) => `export * from "./nexus/${domain}/v1/${file}";\n`);
    writeFileSync(join(output, `${domain}.ts`), lines.join(""));
  }
  const rpc = GOOGLE_RPC_FILES.map((file) => file.replace(".proto", "_pb.ts"));
  const googleRpc = rpc.map((file) => `export * from "./google/rpc/${file}";\n`);
  writeFileSync(join(output, "google-rpc.ts"), googleRpc.join(""));
  const health = 'export * from "./grpc/health/v1/health_pb.ts";\n';
  writeFileSync(join(output, "grpc-health.ts"), health);
  // Both versions have the same names.
  const reflections = { ReflectionV1: "v1", ReflectionV1Alpha: "v1alpha" };
  const reflection = Object.entries(reflections).map(
    ([name, version]) =>
      `export { ServerReflection as ${name} } from "./grpc/reflection/${version}/reflection_pb.ts";\n`,
  );
  writeFileSync(join(output, "grpc-reflection.ts"), reflection.join(""));
}

function inputDigest(): string {
  const hash = createHash("sha256");
  const files = [
    ...listProtoFiles(),
    "buf.yaml",
    "buf.gen.yaml",
    "package-lock.json",
    "scripts/generate.ts",
    "scripts/print-proto.ts",
  ];
  for (const name of files) hash.update(name).update(readFileSync(join(root, name)));
  return hash.digest("hex");
}

function listProtoFiles(): string[] {
  const entries = readdirSync(join(root, "proto"), { recursive: true, encoding: "utf8" });
  return entries
    .filter((name) => name.endsWith(".proto"))
    .map((name) => join("proto", name))
    .sort();
}
