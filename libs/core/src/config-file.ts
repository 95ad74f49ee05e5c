import { readFileSync } from "node:fs";

/** What reading the configuration file gives: raw values by variable name, or what is wrong with the file. */
export type ConfigFile =
  | { readonly values: ReadonlyMap<string, string> }
  | { readonly problem: string };

/** Configuration is small; a larger file is the wrong file. */
const FILE_BYTES_MAX = 1024 * 1024;

function toRaw(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) {
    return value.join(",");
  }
  return undefined;
}

function systemCode(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? "unknown error";
}

function parseJson(text: string): ConfigFile {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's message quotes the text around the mistake, which may be a secret.
    return { problem: "is not valid JSON" };
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    return { problem: "must hold one JSON object" };
  }
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(content)) {
    const raw = toRaw(value);
    if (raw === undefined) {
      return {
        problem: `has a value for ${name} that is no text, number, boolean or list of texts`,
      };
    }
    values.set(name, raw);
  }
  return { values };
}

/** Reads a JSON object whose keys are variable names. Never throws and never quotes the content. */
export function readConfigFile(path: string): ConfigFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return { problem: `cannot be read (${systemCode(error)})` };
  }
  if (text.length > FILE_BYTES_MAX) return { problem: "is larger than 1 MiB" };
  return parseJson(text);
}

/** Reads a secret from its own file, without the line break that editors add. */
export function readSecretFile(path: string): { value: string } | { problem: string } {
  try {
    return { value: readFileSync(path, "utf8").replace(/\r?\n$/, "") };
  } catch (error) {
    return { problem: `names a file that cannot be read (${systemCode(error)})` };
  }
}
