/** Test vectors of others, which are data and not part of the repository. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Beside the repository, or wherever NEXUS_TEST_VECTORS says. */
const FOLDER =
  process.env["NEXUS_TEST_VECTORS"] ?? join(import.meta.dirname, "../../../../shared/vectors");

/** Says whether a folder of vectors is there. A test without its vectors is skipped and says so in its title. */
export function hasVectors(folder: string): boolean {
  return existsSync(join(FOLDER, folder));
}

/** Reads one JSON file of vectors, e.g. `wycheproof/aes_gcm_test.json`. */
export function readVectors<T>(file: string): T {
  return JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as T;
}

/** Lists the JSON files of a folder and of those in it, as readVectors() takes them. */
export function listVectors(folder: string): string[] {
  return readdirSync(join(FOLDER, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(folder, name));
}
