/** An analyser: reads one document and says what is in it. */
import { readFile } from "node:fs/promises";
import { isAbsolute, join, relative, resolve } from "node:path";
import { createAgent, TaskError } from "@nexus/sdk";
import { type Analysis, analyse } from "../text/analysis.ts";
import { readEnvironment } from "./environment.ts";

const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024;
const INPUT = {
  type: "object",
  required: ["folder", "file"],
  properties: { folder: { type: "string" }, file: { type: "string" } },
};

const agent = await createAgent({ ...readEnvironment(), displayName: "Analyser" })
  .capability<{ folder: string; file: string }, Analysis>(
    "text.analyse@1.0.0",
    { input: INPUT, description: "Counts, key terms, summary and readability of one document" },
    async (ctx, { folder, file }) => {
      const text = await readDocument(folder, file);
      ctx.progress(0.5, `${file} read`);
      return analyse(file, text);
    },
  )
  .start();
await agent.runUntilSignal();

async function readDocument(folder: string, file: string): Promise<string> {
  const path = resolve(join(folder, file));
  const inside = relative(resolve(folder), path);
  if (inside.startsWith("..") || isAbsolute(inside)) {
    throw new TaskError({ reason: "OUTSIDE_FOLDER", message: `${file} is not inside the folder.` });
  }
  const bytes = await readFile(path);
  if (bytes.byteLength > DOCUMENT_BYTES_MAX) {
    const message = `${file} is larger than ${DOCUMENT_BYTES_MAX} bytes.`;
    throw new TaskError({ reason: "DOCUMENT_TOO_LARGE", message });
  }
  return bytes.toString("utf8");
}
