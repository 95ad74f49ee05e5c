/** Checks that every service has the same shape and that the name of a method leads to its code and its test. */
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { type Rpc, readRpcs, toKebabCase } from "./source/contracts.ts";
import { type Identifiers, readIdentifiers } from "./source/identifiers.ts";
import { readModule } from "./source/module.ts";
import type { Findings, Problem } from "./source/problem.ts";
import { isTestFile, readWorkspaces, type Workspace } from "./source/workspace.ts";

/** Which service implements which domain of the contracts. `common` holds no service. */
const SERVICE_OF_DOMAIN: Readonly<Record<string, string>> = {
  gateway: "services/gateway",
  insight: "services/insight",
  mesh: "services/mesh-router",
  orchestrator: "services/orchestrator",
  registry: "services/registry",
  vault: "services/vault",
};

/** Contracts that a neighbour of NEXUS serves, such as the sidecar of a KMS: no service here implements them. */
const SERVED_ELSEWHERE: ReadonlySet<string> = new Set(["kms"]);

const REQUIRED_FILES = [
  "README.md",
  "src/config.ts",
  "src/handlers/index.ts",
  "src/main.ts",
  "src/server.ts",
];

/** What a pure domain may not touch: each answers differently when asked twice. */
const IMPURE = new Map([
  ["Date.now", "the clock is injected"],
  ["Math.random", "randomness is injected"],
  ["new Date()", "the clock is injected"],
  ["process", "only main.ts touches the process"],
  ["setImmediate", "timers belong to loops"],
  ["setInterval", "timers belong to loops"],
  ["setTimeout", "timers belong to loops"],
]);

/** Checks files, methods, tests and purity of every service. */
export function checkAnatomy(root: string): Findings {
  const services = readWorkspaces(root).filter(({ group }) => group === "services");
  const problems = [
    ...services.flatMap((service) => missingFiles(root, service)),
    ...readRpcs(root)
      .filter(({ domain }) => !SERVED_ELSEWHERE.has(domain))
      .flatMap((rpc) => checkRpc(root, services, rpc)),
    ...services.flatMap((service) => impurities(root, service)),
  ];
  return { problems, warnings: [] };
}

function missingFiles(root: string, { folder }: Workspace): Problem[] {
  return REQUIRED_FILES.filter((file) => !existsSync(join(root, folder, file))).map((file) => ({
    file: `${folder}/${file}`,
    message: "is missing; every service has it",
  }));
}

function checkRpc(root: string, services: readonly Workspace[], rpc: Rpc): Problem[] {
  const folder = SERVICE_OF_DOMAIN[rpc.domain];
  const service = services.find((candidate) => candidate.folder === folder);
  const place = `${rpc.service}.${rpc.method}`;
  if (folder === undefined || service === undefined) {
    return [{ file: rpc.file, message: `no service implements ${place}` }];
  }
  const problems: Problem[] = [];
  const handler = `${toKebabCase(rpc.method)}.ts`;
  const handlers = service.files.filter((file) => file.startsWith(`${folder}/src/handlers/`));
  if (!handlers.some((file) => posix.basename(file) === handler)) {
    problems.push({ file: `${folder}/src/handlers/${handler}`, message: `is missing: ${place}` });
  }
  if (!isNamedInTests(root, service, rpc.method)) {
    problems.push({ file: folder, message: `no test of the service names ${place}` });
  }
  return problems;
}

function isNamedInTests(root: string, service: Workspace, method: string): boolean {
  const localName = `${method.charAt(0).toLowerCase()}${method.slice(1)}`;
  const named = new RegExp(`\\b(${method}|${localName})\\b`);
  const tests = service.files.filter(isTestFile);
  return tests.some((file) => named.test(readFileSync(join(root, file), "utf8")));
}

function impurities(root: string, { folder, files }: Workspace): Problem[] {
  const domain = files.filter((file) => file.startsWith(`${folder}/src/domain/`));
  return domain
    .filter((file) => !isTestFile(file) && !file.endsWith(".fake.ts"))
    .flatMap((file) => {
      const module = readModule(root, file);
      const used: Identifiers = readIdentifiers(module.body);
      return used.flatMap(({ name, start }) => {
        const why = IMPURE.get(name);
        const message = `the domain uses ${name}; ${why ?? ""}`;
        return why === undefined ? [] : [{ file, line: module.lineAt(start), message }];
      });
    });
}
