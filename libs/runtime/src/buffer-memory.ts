import { setFlagsFromString } from "node:v8";

/** The V8 of Node 24. Those before have other limits, those after do the second by themselves. */
const AFFECTED_V8 = "13.6.";
/** Dropped buffers are freed by a small collection at four times this, in MiB: the number of the versions before. */
const NEW_SPACE_MIB = 8;

/** Has V8 free dropped buffers by small collections, and count those that live by the limit of all memory.
 *
 * By itself the V8 of Node 24 collects the whole heap for every 64 MiB of buffers that were made since, though they were dropped long ago:
 * half of the CPU of a gateway that relays frames. V8 asks for these flags at each of its decisions, so they may be set in a running process.
 * Source: nodejs/node#63863. */
export function countBuffersAsMemory(): void {
  if (!process.versions.v8.startsWith(AFFECTED_V8)) return;
  setFlagsFromString(`--scavenger-max-new-space-capacity-mb=${NEW_SPACE_MIB}`);
  setFlagsFromString("--external-memory-accounted-in-global-limit");
}
