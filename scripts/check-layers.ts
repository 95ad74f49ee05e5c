/** Checks who imports whom: layers inside a service, packages across workspaces, and cycles between files.
 *
 * The directions between libraries are not listed here: a workspace may import what its package.json declares,
 * and the declared graph itself must have no cycle.
 */
import { existsSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, posix } from "node:path";
import { type LayerRule, layerOf, layersOf } from "./layers.ts";
import { findCycles } from "./source/cycles.ts";
import { type ImportEdge, readModule } from "./source/module.ts";
import type { Findings, Problem } from "./source/problem.ts";
import {
  isTestFile,
  type Manifest,
  readManifest,
  readWorkspaces,
  type Workspace,
} from "./source/workspace.ts";

const NEXUS_SCOPE = "@nexus/";
/** Test code may use these from any workspace; declaring them below what they are made of would be a cycle. */
const TEST_PACKAGES = ["@nexus/devkit", "@nexus/testkit"];
/** Ships with nothing: what it compares NEXUS with is nobody's dependency. */
const DEVELOPMENT_WORKSPACE = "bench";
const NODE_MODULES = new Set(builtinModules.map((name) => `node:${name.replace(/^node:/, "")}`));

interface Repository {
  readonly root: string;
  readonly rootManifest: Manifest;
  readonly byName: ReadonlyMap<string, Workspace>;
}

/** Runs every import rule over every workspace. */
export function checkLayers(root: string): Findings {
  const workspaces = readWorkspaces(root);
  const repository: Repository = {
    root,
    rootManifest: readManifest(root),
    byName: new Map(workspaces.map((workspace) => [workspace.manifest.name, workspace])),
  };
  const problems = workspaces.flatMap((workspace) => [
    ...workspace.files.flatMap((file) => checkFile(repository, workspace, file)),
    ...checkFileCycles(root, workspace),
  ]);
  return { problems: [...problems, ...checkWorkspaceCycles(repository)], warnings: [] };
}

function checkFile(repository: Repository, workspace: Workspace, file: string): Problem[] {
  const module = readModule(repository.root, file);
  const stray = strayLayer(workspace, file);
  if (stray !== undefined) return [{ file, message: stray }];
  return module.imports.flatMap((edge) => {
    const messages = [
      ...(edge.star ? ["`export *` hides what a module offers; name the exports"] : []),
      ...checkSpecifier(repository, workspace, { file, edge }),
      ...checkLayer(workspace, file, edge),
    ];
    return messages.map((message) => ({ file, line: edge.line, message }));
  });
}

interface Import {
  readonly file: string;
  readonly edge: ImportEdge;
}

function checkSpecifier(repository: Repository, workspace: Workspace, found: Import): string[] {
  const { specifier } = found.edge;
  if (specifier.startsWith(".")) return checkRelative(repository, workspace, found);
  if (specifier.startsWith("node:")) {
    return NODE_MODULES.has(specifier) ? [] : [`${specifier} is not a module of Node`];
  }
  const name = packageName(specifier);
  if (name === workspace.manifest.name) return [];
  const messages: string[] = [];
  if (!isDeclared(repository, workspace, { name, inTest: isTestFile(found.file) })) {
    messages.push(`${name} is not declared in ${workspace.folder}/package.json`);
  }
  const target = repository.byName.get(name);
  if (target?.group === "services") messages.push(`nothing may import the service ${name}`);
  if (target !== undefined && !isExported(target, specifier)) {
    messages.push(`${specifier} is not among the exports of ${name}`);
  }
  return messages;
}

function checkRelative(repository: Repository, workspace: Workspace, found: Import): string[] {
  const { specifier } = found.edge;
  const target = posix.normalize(posix.join(posix.dirname(found.file), specifier));
  if (!target.startsWith(`${workspace.folder}/`)) {
    return [`${specifier} leaves ${workspace.folder}; import the package instead`];
  }
  if (!/\.(ts|json)$/.test(specifier)) return [`${specifier} needs its extension, .ts`];
  const missing = !target.includes("/gen/") && !existsSync(join(repository.root, target));
  return missing ? [`${specifier} does not exist`] : [];
}

function isDeclared(
  repository: Repository,
  workspace: Workspace,
  { name, inTest }: { name: string; inTest: boolean },
): boolean {
  const { dependencies = {}, devDependencies = {} } = workspace.manifest;
  if (Object.hasOwn(dependencies, name)) return true;
  if (workspace.folder === DEVELOPMENT_WORKSPACE && Object.hasOwn(devDependencies, name)) {
    return true;
  }
  if (!inTest) return false;
  const shared = repository.rootManifest.devDependencies ?? {};
  return (
    [devDependencies, shared].some((list) => Object.hasOwn(list, name)) ||
    TEST_PACKAGES.includes(name)
  );
}

function isExported(target: Workspace, specifier: string): boolean {
  const subpath = `.${specifier.slice(target.manifest.name.length)}`;
  return Object.hasOwn(target.manifest.exports ?? {}, subpath);
}

function strayLayer(workspace: Workspace, file: string): string | undefined {
  const place = layerPlace(workspace, file);
  if (place === undefined || place.rule !== undefined) return undefined;
  return `\`${place.layer}\` is not a layer of ${place.service} (scripts/layers.ts)`;
}

/** Applies the layer table to the production code of a service. */
function checkLayer(workspace: Workspace, file: string, edge: ImportEdge): string[] {
  const place = layerPlace(workspace, file);
  if (place?.rule === undefined) return [];
  const { layer, rule, source } = place;
  const refused = refusal(rule, { layer, file, source, specifier: edge.specifier });
  return refused === undefined ? [] : [`${layer} may not import ${refused} (scripts/layers.ts)`];
}

interface LayerPlace {
  readonly service: string;
  readonly layer: string;
  readonly source: string;
  readonly rule: LayerRule | undefined;
}

/** Says where in a service a file of production code stands. */
function layerPlace(workspace: Workspace, file: string): LayerPlace | undefined {
  const source = `${workspace.folder}/src/`;
  if (workspace.group !== "services" || !file.startsWith(source) || isTestFile(file)) {
    return undefined;
  }
  const service = posix.basename(workspace.folder);
  const layer = layerOf(file.slice(source.length));
  return { service, layer, source, rule: layersOf(service)[layer] };
}

function refusal(
  rule: LayerRule,
  {
    layer,
    file,
    source,
    specifier,
  }: { layer: string; file: string; source: string; specifier: string },
): string | undefined {
  if (specifier.startsWith(".")) {
    const target = posix.join(posix.dirname(file), specifier);
    const targetLayer = layerOf(target.slice(source.length));
    const same = targetLayer === layer;
    const refused = targetLayer === "main" || !allows(rule.layers, targetLayer);
    return !same && refused ? targetLayer : undefined;
  }
  if (specifier.startsWith("node:")) return allows(rule.node, specifier) ? undefined : specifier;
  const name = packageName(specifier);
  if (!name.startsWith(NEXUS_SCOPE)) return allows(rule.packages, name) ? undefined : name;
  return allows(rule.libs, name.slice(NEXUS_SCOPE.length)) ? undefined : name;
}

function allows(list: readonly string[] | "all", name: string): boolean {
  return list === "all" || list.includes(name);
}

function packageName(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

function checkFileCycles(root: string, workspace: Workspace): Problem[] {
  const edges = new Map<string, string[]>();
  for (const file of workspace.files) {
    const local = readModule(root, file).imports.filter(({ specifier }) =>
      specifier.startsWith("."),
    );
    edges.set(
      file,
      local.map(({ specifier }) => posix.normalize(posix.join(posix.dirname(file), specifier))),
    );
  }
  return findCycles(edges).map((cycle) => ({
    file: cycle[0] ?? workspace.folder,
    message: `import cycle: ${[...cycle, cycle[0]].join(" -> ")}`,
  }));
}

function checkWorkspaceCycles(repository: Repository): Problem[] {
  const edges = new Map<string, string[]>();
  for (const [name, { manifest }] of repository.byName) {
    edges.set(name, Object.keys(manifest.dependencies ?? {}));
  }
  return findCycles(edges).map((cycle) => ({
    file: "package.json",
    message: `workspaces depend on each other: ${cycle.join(" -> ")}`,
  }));
}
