import { describe, expect, it } from "vitest";
import { checkLayers } from "../scripts/check-layers.ts";
import { manifest, writeTree } from "./_tree.ts";

const SERVICE = manifest("@nexus/agent-registry", {
  dependencies: { "@nexus/shared": "0", "@nexus/postgres": "0", "@nexus/secure-vault": "0" },
});
const WORKSPACES = {
  "package.json": manifest("nexus", { devDependencies: { vitest: "4" } }),
  "libs/shared/package.json": manifest("@nexus/shared"),
  "libs/postgres/package.json": manifest("@nexus/postgres"),
  "services/registry/package.json": SERVICE,
  "services/vault/package.json": manifest("@nexus/secure-vault"),
};

/** Each case: a file, its text, and what is said about it; no message means that it is allowed. */
function check(name: string, files: Record<string, string>, messages: readonly string[]): void {
  it(name, () => {
    const { problems } = checkLayers(writeTree({ ...WORKSPACES, ...files }));
    expect(problems.map(({ message }) => message)).toEqual(messages);
  });
}

describe("layers of a service", () => {
  check(
    "lets a handler use the domain and the domain use shared",
    {
      "services/registry/src/handlers/get-agent.ts": 'import { a } from "../domain/agent.ts";',
      "services/registry/src/domain/agent.ts": 'import { b } from "@nexus/shared";',
    },
    [],
  );
  check(
    "refuses a handler that reaches into the store",
    {
      "services/registry/src/handlers/get-agent.ts": 'import type { A } from "../store/agents.ts";',
      "services/registry/src/store/agents.ts": "export interface A {}",
    },
    ["handlers may not import store (scripts/layers.ts)"],
  );
  check(
    "refuses a domain that reads a file or knows Postgres",
    {
      "services/registry/src/domain/agent.ts":
        'import "node:fs"; import { p } from "@nexus/postgres";',
    },
    [
      "domain may not import node:fs (scripts/layers.ts)",
      "domain may not import @nexus/postgres (scripts/layers.ts)",
    ],
  );
  check(
    "refuses a folder that is no layer",
    { "services/registry/src/utils/a.ts": 'import { b } from "@nexus/shared";' },
    ["`utils` is not a layer of registry (scripts/layers.ts)"],
  );
  check(
    "leaves tests free to use any layer",
    {
      "services/registry/src/domain/a.test.ts": 'import { p } from "../store/p.ts";',
      "services/registry/src/store/p.ts": "export const p = 1;",
    },
    [],
  );
});

describe("imports across workspaces", () => {
  check(
    "refuses an undeclared package, also in a dynamic import",
    { "libs/shared/src/a.ts": 'import "left-pad"; await import("right-pad");' },
    [
      "left-pad is not declared in libs/shared/package.json",
      "right-pad is not declared in libs/shared/package.json",
    ],
  );
  check(
    "lets the bench alone use its development packages outside of tests",
    {
      "bench/package.json": manifest("@nexus/bench", { devDependencies: { bullmq: "6" } }),
      "bench/src/a.ts": 'import "bullmq"; import "vitest";',
      "libs/postgres/package.json": manifest("@nexus/postgres", {
        devDependencies: { bullmq: "6" },
      }),
      "libs/postgres/src/a.ts": 'import "bullmq";',
    },
    [
      "bullmq is not declared in libs/postgres/package.json",
      "vitest is not declared in bench/package.json",
    ],
  );
  check(
    "lets tests use the root's development packages and the testkit",
    { "libs/shared/src/a.test.ts": 'import "vitest"; import "@nexus/testkit";' },
    [],
  );
  check(
    "refuses a service inside another and a path that is not exported",
    {
      "services/registry/src/server.ts":
        'import "@nexus/secure-vault"; import "@nexus/shared/src/ids";',
    },
    [
      "nothing may import the service @nexus/secure-vault",
      "@nexus/shared/src/ids is not among the exports of @nexus/shared",
    ],
  );
  check(
    "refuses a relative path out of the workspace or without its extension",
    { "libs/shared/src/a.ts": 'import "../../postgres/src/b.ts"; import "./c";' },
    [
      "../../postgres/src/b.ts leaves libs/shared; import the package instead",
      "./c needs its extension, .ts",
    ],
  );
  check(
    "refuses `export *`",
    { "libs/shared/src/a.ts": 'export * from "./b.ts";', "libs/shared/src/b.ts": "export {};" },
    ["`export *` hides what a module offers; name the exports"],
  );
});

describe("cycles", () => {
  check(
    "names the files of a cycle, also of types alone",
    {
      "libs/shared/src/a.ts": 'import type { B } from "./b.ts";',
      "libs/shared/src/b.ts": 'import type { A } from "./a.ts";',
    },
    ["import cycle: libs/shared/src/a.ts -> libs/shared/src/b.ts -> libs/shared/src/a.ts"],
  );
  check(
    "names the workspaces of a cycle",
    {
      "libs/shared/package.json": manifest("@nexus/shared", {
        dependencies: { "@nexus/postgres": "0" },
      }),
      "libs/postgres/package.json": manifest("@nexus/postgres", {
        dependencies: { "@nexus/shared": "0" },
      }),
    },
    ["workspaces depend on each other: @nexus/postgres -> @nexus/shared"],
  );
});
