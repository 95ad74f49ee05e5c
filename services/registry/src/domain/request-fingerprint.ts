/** Tells a repeated request from another one under the same id. */
import { createHash } from "node:crypto";
import { compareText } from "./capability-definition.ts";

/** A value as a request holds it. */
export type RequestValue =
  | string
  | number
  | bigint
  | boolean
  | undefined
  | readonly RequestValue[]
  | { readonly [name: string]: RequestValue };

/** Hashes a method and what was asked of it. The order of map entries does not matter; that of lists does. */
export function fingerprintOf(method: string, request: RequestValue): Uint8Array {
  return createHash("sha256")
    .update(`${method}\n${canonicalText(request)}`)
    .digest();
}

/** JSON with sorted keys and without undefined members; integers of 64 bits as their digits. */
function canonicalText(value: RequestValue): string {
  if (typeof value === "bigint") return value.toString();
  if (value === undefined) return "null";
  if (typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalText).join(",")}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalText(member)}`);
  return `{${members.join(",")}}`;
}

function isList(value: RequestValue): value is readonly RequestValue[] {
  return Array.isArray(value);
}
