/** Generates and compiles everything; says so when it takes long, because `npm start` and `npm run demo` begin with it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { bundlePrograms } from "./bundle.ts";
import "./generate.ts";

/** A build with nothing to do is over by then. */
const SAY_AFTER_MS = 4_000;
const root = join(import.meta.dirname, "..");

const notice = setTimeout(() => {
  console.error("Building NEXUS: a minute or two the first time, nothing the next ...");
}, SAY_AFTER_MS);
const compiler = spawn(join(root, "node_modules/.bin/tsc"), ["-b", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
const [code] = (await once(compiler, "exit")) as [number | null];
if (code === 0) await bundlePrograms(root);
clearTimeout(notice);
process.exitCode = code ?? 1;
