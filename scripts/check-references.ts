/** Checks that the compiler's graph is npm's graph: each declared library is referenced, and nothing else is.
 *
 * A missing reference builds against yesterday's output; a needless one makes everybody wait.
 */
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import type { Findings, Problem } from "./source/problem.ts";
import { readWorkspaces, type Workspace } from "./source/workspace.ts";

/** The files that list every workspace. */
const ROOT_PROJECTS = ["tsconfig.build.json", "tsconfig.test.json"];

interface Project {
  readonly references?: ReadonlyArray<{ readonly path: string }>;
}

/** Compares the references of every tsconfig.json with the dependencies beside it. */
export function checkReferences(root: string): Findings {
  const workspaces = readWorkspaces(root);
  const folders = workspaces.map(({ folder }) => folder);
  const problems = [
    ...ROOT_PROJECTS.flatMap((file) => compare(root, file, folders)),
    ...workspaces.flatMap((workspace) =>
      compare(root, `${workspace.folder}/tsconfig.json`, dependenciesOf(workspace, workspaces)),
    ),
  ];
  return { problems, warnings: [] };
}

function dependenciesOf({ manifest }: Workspace, workspaces: readonly Workspace[]): string[] {
  const names = Object.keys(manifest.dependencies ?? {});
  return workspaces
    .filter((other) => names.includes(other.manifest.name))
    .map(({ folder }) => folder);
}

function compare(root: string, file: string, expected: readonly string[]): Problem[] {
  const project = JSON.parse(readFileSync(join(root, file), "utf8")) as Project;
  const references = (project.references ?? []).map(({ path }) =>
    posix.normalize(posix.join(posix.dirname(file), path)),
  );
  const missing = expected.filter((folder) => !references.includes(folder));
  const needless = references.filter((folder) => !expected.includes(folder));
  return [
    ...missing.map((folder) => ({ file, message: `does not reference ${folder}` })),
    ...needless.map((folder) => ({
      file,
      message: `references ${folder}, which is no dependency`,
    })),
  ];
}
