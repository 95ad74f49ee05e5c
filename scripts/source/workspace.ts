/** Reads the repository as the checks see it: workspaces, their manifests and their source files. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";

const IGNORED_FOLDERS = new Set(["node_modules", "dist", "gen", ".git", ".nexus", "coverage"]);
const WORKSPACE_GROUPS = ["libs", "services", "apps", "examples"] as const;
const SINGLE_WORKSPACES = ["bench"] as const;

/** The folder that holds a workspace, which says what it may be. */
export type WorkspaceGroup = "libs" | "services" | "apps" | "examples" | "bench";

/** The fields of a package.json that the checks read. */
export interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
}

/** One npm workspace. `folder` and `files` are relative to the root, with forward slashes. */
export interface Workspace {
  readonly group: WorkspaceGroup;
  readonly folder: string;
  readonly manifest: Manifest;
  readonly files: readonly string[];
}

/** Reads every workspace that has a manifest. */
export function readWorkspaces(root: string): Workspace[] {
  const workspaces: Workspace[] = [];
  for (const group of WORKSPACE_GROUPS) {
    for (const name of listFolders(join(root, group))) {
      workspaces.push(...readWorkspace(root, group, `${group}/${name}`));
    }
  }
  for (const group of SINGLE_WORKSPACES) workspaces.push(...readWorkspace(root, group, group));
  return workspaces;
}

function readWorkspace(root: string, group: WorkspaceGroup, folder: string): Workspace[] {
  if (!existsSync(join(root, folder, "package.json"))) return [];
  const manifest = readManifest(join(root, folder));
  return [{ group, folder, manifest, files: listFiles(root, folder, ".ts") }];
}

/** Reads a package.json; its shape is npm's promise, so it is not validated again. */
export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** Lists the files below a folder that end so, without generated and installed ones. */
export function listFiles(root: string, folder: string, ending: string): string[] {
  const found: string[] = [];
  const pending = [folder];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const path = join(root, next);
    if (!existsSync(path)) continue;
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = next === "" ? entry.name : `${next}/${entry.name}`;
      if (entry.isDirectory() && !IGNORED_FOLDERS.has(entry.name)) pending.push(child);
      else if (entry.isFile() && entry.name.endsWith(ending)) found.push(child);
    }
  }
  return found.sort();
}

/** Says whether a file is test code, which may import more than the code it tests. */
export function isTestFile(file: string): boolean {
  return file.endsWith(".test.ts") || file.split(sep).join("/").includes("/test/");
}

function listFolders(path: string): string[] {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
