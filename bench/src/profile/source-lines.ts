/** Finds the lines of TypeScript behind the functions of a CPU profile, by the source maps beside the code that ran. */
import { existsSync, readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { fileURLToPath } from "node:url";
import { type Frame, isOwnCode } from "./self-times.ts";

/** Returns a function that tells where a frame's function was written, or the frame as it is when no map says so. Reads each map once. */
export function createSourceLines(): (frame: Frame) => Frame {
  const maps = new Map<string, SourceMap | undefined>();
  const mapOf = (url: string) => {
    if (!maps.has(url)) maps.set(url, readMap(url));
    return maps.get(url);
  };
  return (frame) => {
    if (!isOwnCode(frame.url)) return frame;
    const entry = mapOf(frame.url)?.findEntry(frame.lineNumber, frame.columnNumber);
    if (entry === undefined || !("originalSource" in entry)) return frame;
    const url = new URL(entry.originalSource, frame.url).href;
    return { ...frame, url, lineNumber: entry.originalLine, columnNumber: entry.originalColumn };
  };
}

function readMap(url: string): SourceMap | undefined {
  const file = `${fileURLToPath(url)}.map`;
  if (!existsSync(file)) return undefined;
  return new SourceMap(JSON.parse(readFileSync(file, "utf8")) as SourceMapPayload);
}
