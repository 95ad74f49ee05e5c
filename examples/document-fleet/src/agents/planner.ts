/** The planner: turns "report on the documents in a folder" into one analysis per file and one report. */
import { readdir } from "node:fs/promises";
import {
  createAgent,
  createPlan,
  fromPayload,
  type PlannedTask,
  readPlanRequest,
  TaskError,
} from "@nexus/sdk";
import { readEnvironment } from "./environment.ts";

const FILES_MAX = 500;

const agent = await createAgent({ ...readEnvironment(), displayName: "Planner" })
  .capability(
    "nexus.plan@1.0.0",
    { description: "Plans reports on a folder" },
    async (ctx, input) => {
      const request = readPlanRequest(input);
      const { folder } = fromPayload(request.input) as { folder: string };
      const files = await listDocuments(folder);
      ctx.progress(0.5, `${files.length} documents found`);
      return createPlan(
        planReport(folder, files),
        `Analyse ${files.length} documents, then report.`,
      );
    },
  )
  .start();
await agent.runUntilSignal();

async function listDocuments(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch((error: unknown) => {
    const message = `The folder ${folder} cannot be read.`;
    throw new TaskError({ reason: "FOLDER_UNREADABLE", message, cause: error });
  });
  const files = names.filter((name) => /\.(?:md|markdown|txt)$/i.test(name)).sort();
  if (files.length === 0) {
    const message = `There is no .md, .markdown or .txt file in ${folder}.`;
    throw new TaskError({ reason: "NO_DOCUMENTS", message });
  }
  if (files.length > FILES_MAX) {
    const message = `${files.length} documents are more than the ${FILES_MAX} that one report may hold.`;
    throw new TaskError({ reason: "TOO_MANY_DOCUMENTS", message });
  }
  return files;
}

function planReport(folder: string, files: readonly string[]): PlannedTask[] {
  const analyses = files.map((file, index) => ({
    key: `analyse-${index + 1}`,
    capability: "text.analyse",
    versionRange: "^1.0.0",
    input: { folder, file },
  }));
  const report: PlannedTask = {
    key: "compose",
    capability: "report.compose",
    versionRange: "^1.0.0",
    input: { folder },
    dependencies: analyses.map(({ key }) => ({ taskKey: key, inputName: key })),
  };
  return [...analyses, report];
}
