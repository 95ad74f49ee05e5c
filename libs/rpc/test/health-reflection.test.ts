import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { create, createFileRegistry, fromBinary, getOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { credentials, makeGenericClientConstructor, type ServiceDefinition } from "@grpc/grpc-js";
import { required_scope } from "@nexus/proto/common";
import { AuthService } from "@nexus/proto/vault";
import { service as healthService } from "grpc-health-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authHandlers } from "./_handlers.ts";
import { type Rig, startRig } from "./_harness.ts";

const BUF = join(import.meta.dirname, "../../../node_modules/.bin/buf");
const run = promisify(execFile);
let rig: Rig;

beforeAll(async () => {
  rig = await startRig((server) =>
    server.add(AuthService, authHandlers({ getJwks: async () => ({ jwksJson: "[]" }) })),
  );
});

afterAll(() => rig.close());

interface HealthClient {
  check(
    request: { service: string },
    done: (error: { code: number } | null, response?: { status: string }) => void,
  ): void;
  watch(request: { service: string }): AsyncIterable<{ status: string }>;
  close(): void;
}

function healthClient(): HealthClient {
  const Health = makeGenericClientConstructor(healthService, "Health");
  return new Health(rig.address, credentials.createInsecure()) as unknown as HealthClient;
}

function check(service: string): Promise<string | number> {
  const client = healthClient();
  return new Promise((resolve) => {
    client.check({ service }, (error, response) => {
      client.close();
      resolve(error?.code ?? response?.status ?? "none");
    });
  });
}

describe("health", () => {
  it.each(["", "ready", "live", "nexus.vault.v1.AuthService"])("serves %j", async (name) => {
    expect(await check(name)).toBe("SERVING");
  });

  it("answers NOT_FOUND for a service it does not know", async () => {
    expect(await check("nexus.vault.v1.Nothing")).toBe(5);
  });

  it("can be switched off and on, except for liveness", async () => {
    rig.server.setServing(false);
    expect(await check("")).toBe("NOT_SERVING");
    expect(await check("ready")).toBe("NOT_SERVING");
    expect(await check("nexus.vault.v1.AuthService")).toBe("NOT_SERVING");
    expect(await check("live")).toBe("SERVING");
    rig.server.setServing(true);
    expect(await check("ready")).toBe("SERVING");
  });

  it("tells a watcher of changes", async () => {
    const client = healthClient();
    const watching = client.watch({ service: "ready" })[Symbol.asyncIterator]();
    expect((await watching.next()).value).toEqual({ status: "SERVING" });
    rig.server.setServing(false);
    expect((await watching.next()).value).toEqual({ status: "NOT_SERVING" });
    rig.server.setServing(true);
    expect((await watching.next()).value).toEqual({ status: "SERVING" });
    client.close();
  });
});

describe("reflection", () => {
  it("lists every service of the server", async () => {
    const { stdout } = await run(BUF, [
      "curl",
      "--http2-prior-knowledge",
      "--protocol",
      "grpc",
      "--list-services",
      `http://${rig.address}`,
    ]);
    expect(stdout.trim().split("\n").sort()).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "nexus.vault.v1.AuthService",
    ]);
  });

  it("is enough to make a call with no files", async () => {
    const { stdout } = await run(BUF, [
      "curl",
      "--http2-prior-knowledge",
      "--protocol",
      "grpc",
      "-d",
      "{}",
      `http://${rig.address}/nexus.vault.v1.AuthService/GetJwks`,
    ]);
    expect(JSON.parse(stdout)).toEqual({ jwksJson: "[]" });
  });

  it("is enough to ask for health with no files", async () => {
    const { stdout } = await run(BUF, [
      "curl",
      "--http2-prior-knowledge",
      "--protocol",
      "grpc",
      "-d",
      '{"service":"live"}',
      `http://${rig.address}/grpc.health.v1.Health/Check`,
    ]);
    expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
  });

  it.each(["v1", "v1alpha"])(
    "hands out files with their options and imports by %s",
    async (version) => {
      const files = await reflect(version, {
        fileContainingSymbol: "nexus.vault.v1.AuthService.Login",
      });
      const file = files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      const set = create(FileDescriptorSetSchema, { file: file.toReversed() });
      expect(set.file.at(-1)?.name).toBe("nexus/vault/v1/auth_service.proto");
      const names = set.file.map(({ name }) => name);
      expect(names).toContain("buf/validate/validate.proto");
      expect(names).toContain("google/protobuf/descriptor.proto");
      const login = createFileRegistry(set)
        .getService("nexus.vault.v1.AuthService")
        ?.methods.find(({ name }) => name === "Login");
      expect(login && getOption(login, required_scope)).toBe("public");
    },
  );

  it("answers by file name, by extension, and says what it does not know", async () => {
    const byName = await reflect("v1", { fileByFilename: "nexus/common/v1/options.proto" });
    expect(byName.length).toBeGreaterThan(0);
    const byExtension = await reflect("v1", {
      fileContainingExtension: {
        containingType: "google.protobuf.MethodOptions",
        extensionNumber: 50_001,
      },
    });
    expect(byExtension.length).toBeGreaterThan(0);
    await expect(reflect("v1", { fileContainingSymbol: "no.such.Symbol" })).rejects.toThrow(
      "5: No such symbol",
    );
  });
});

interface ReflectionAnswer {
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: number[][] | Buffer[] };
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string };
}

/** Asks with the official contract, as it ships with @grpc/reflection. */
async function reflect(version: string, request: object): Promise<Buffer[]> {
  const { ReflectionService } = await import("@grpc/reflection");
  const definitions: ServiceDefinition[] = [];
  new ReflectionService({}).addToServer({ addService: (added) => void definitions.push(added) });
  const definition = definitions.find((candidate) =>
    Object.values(candidate).some(({ path }) => path.startsWith(`/grpc.reflection.${version}.`)),
  );
  const Reflection = makeGenericClientConstructor(definition ?? {}, "Reflection");
  const client = new Reflection(rig.address, credentials.createInsecure());
  const call = client["ServerReflectionInfo"]?.() as {
    write(message: object): void;
    end(): void;
  } & AsyncIterable<ReflectionAnswer>;
  call.write(request);
  call.end();
  for await (const { fileDescriptorResponse, errorResponse } of call) {
    client.close();
    if (errorResponse) throw new Error(`${errorResponse.errorCode}: ${errorResponse.errorMessage}`);
    return (fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) => Buffer.from(bytes));
  }
  return [];
}
