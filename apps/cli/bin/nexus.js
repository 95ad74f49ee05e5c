#!/usr/bin/env node
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// Compiled code is kept for the next command, in a folder that nobody else can write to. Not before Node 22.8.
const { XDG_CACHE_HOME: chosen = "" } = process.env;
const cache = chosen === "" ? join(homedir(), ".cache") : chosen;
module.enableCompileCache?.(join(cache, "nexus"));
await import("../dist/bundle.js");
