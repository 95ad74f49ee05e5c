/** Makes one file of each program that is deployed: the services and the command (ADR 0024).
 *
 * A service loads some 1 400 files. Finding, reading and linking them is most of what its start costs, and a folder of packages
 * most of its image. The file lies beside the code that it is made of: `services/<name>/dist/bundle.js`.
 */
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build, type Metafile, transform } from "esbuild";

/** The oldest Node that runs it, as in package.json. */
const TARGET = "node20.19";
/** Packages in CommonJS ask for Node's own modules by this function, which a module does not have. */
const REQUIRE = `import { createRequire as nexusRequire } from "node:module"; const require = nexusRequire(import.meta.url);`;
/** Loaded in place of another package when somebody has installed it: nobody has. */
const OPTIONAL = ["pg-native"];
const BEYOND_ASCII = /[^\0-\u007f]/;

/** Bundles every program whose files have changed since it was last bundled. `root` is the repository. */
export async function bundlePrograms(root: string): Promise<void> {
  await Promise.all(
    programFolders(root)
      .filter((folder) => !isUpToDate(root, folder))
      .map((folder) => bundle(root, folder)),
  );
}

function programFolders(root: string): string[] {
  return [...readdirSync(join(root, "services")).map((name) => `services/${name}`), "apps/cli"];
}

/** The list of what a bundle was made of: put in its place last and at once, so that it is there only beside a whole one. */
function inputsFile(root: string, folder: string): string {
  return join(root, folder, "dist/bundle.inputs.json");
}

async function bundle(root: string, folder: string): Promise<void> {
  const dist = join(folder, "dist");
  rmSync(inputsFile(root, folder), { force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [join(dist, "main.js")],
    outfile: join(dist, "bundle.js"),
    bundle: true,
    platform: "node",
    format: "esm",
    target: TARGET,
    external: OPTIONAL,
    banner: { js: REQUIRE },
    sourcemap: true,
    sourcesContent: false,
    legalComments: "none",
    logLevel: "warning",
    metafile: true,
  });
  const file = join(root, dist, "bundle.js");
  writeFileSync(file, await toAscii(readFileSync(file, "utf8")));
  writeFileSync(join(root, dist, "bundle.licenses.txt"), licencesOf(root, metafile));
  const inputs = inputsFile(root, folder);
  writeFileSync(`${inputs}.part`, JSON.stringify(Object.keys(metafile.inputs)));
  renameSync(`${inputs}.part`, inputs);
}

/** Replaces characters beyond ASCII, one by one, so that the map stays right. A single one has V8 keep the whole source, which it does for as
 * long as the process lives, at two bytes a character. esbuild escapes those of strings, so what is left stands in comments of packages;
 * should it not, all stay. */
async function toAscii(code: string): Promise<string> {
  if (!BEYOND_ASCII.test(code)) return code;
  const bare = await transform(code, { minifyWhitespace: true, legalComments: "none" });
  return BEYOND_ASCII.test(bare.code) ? code : code.replaceAll(new RegExp(BEYOND_ASCII, "g"), "?");
}

/** Goes by times of files. Those of packages say nothing, so the lock file stands for all of them. */
function isUpToDate(root: string, folder: string): boolean {
  if (!existsSync(inputsFile(root, folder))) return false;
  const inputs = JSON.parse(readFileSync(inputsFile(root, folder), "utf8")) as string[];
  const madeAtMs = changedAtMs(inputsFile(root, folder));
  return [...inputs, "package-lock.json", "scripts/bundle.ts"].every(
    (input) => changedAtMs(join(root, input)) < madeAtMs,
  );
}

function changedAtMs(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
}

/** What the licences of the packages ask for: to go wherever their code goes. */
function licencesOf(root: string, { inputs }: Metafile): string {
  const packages = new Set(Object.keys(inputs).flatMap((file) => packageFolder(file) ?? []));
  const texts = [...packages].sort().map((folder) => licenceOf(join(root, folder)));
  return [...new Set(texts)].join("\n");
}

/** `node_modules/@scope/name` of a file of a package, undefined of one of ours. */
function packageFolder(file: string): string | undefined {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];
}

function licenceOf(folder: string): string {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    readonly name: string;
    readonly version: string;
    readonly license?: string;
  };
  const texts = readdirSync(folder)
    .filter((name) => /^(licen[cs]e|notice)/i.test(name))
    .map((name) => readFileSync(join(folder, name), "utf8").trim());
  const { name, version, license = "see the package" } = manifest;
  return [`${name} ${version} (${license})`, ...texts, ""].join("\n\n");
}
