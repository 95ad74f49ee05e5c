import { setFlagsFromString } from "node:v8";

/** The V8 of Node 24. Those before have other limits, those after do it by themselves. */
const AFFECTED_V8 = "13.6.";

/** Has V8 count buffers by the limit of all memory, as its later versions do.
 *
 * By itself the V8 of Node 24 collects the whole heap for every 64 MiB of buffers that were made since, though they were dropped long ago:
 * half of the CPU of a gateway that relays frames. V8 asks for this flag at each of its decisions, so it may be set in a running process.
 * Source: nodejs/node#63863. */
export function countBuffersAsMemory(): void {
  if (!process.versions.v8.startsWith(AFFECTED_V8)) return;
  setFlagsFromString("--external-memory-accounted-in-global-limit");
}
