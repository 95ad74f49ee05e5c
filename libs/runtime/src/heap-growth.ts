import { setFlagsFromString } from "node:v8";

/** Has V8 collect the whole heap only when it has grown by this part since the last such collection, in percent of what lived then.
 *
 * By itself V8 takes the smaller a part the smaller the heap may become: a third where it may have 384 MiB. The limit stays, and a heap
 * half full by then grows by half of what is left. V8 asks for the flag at each of its decisions, so it may be set in a running process;
 * `--initial-old-space-size`, which only bounds a small heap from below, may not. */
export function setHeapGrowth(percent: number): void {
  setFlagsFromString(`--heap-growing-percent=${percent}`);
}
