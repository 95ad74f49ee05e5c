/** Joins parts so that no two lists give the same bytes: a label, then each part behind its length. */
export function canonical(
  label: string,
  ...parts: readonly (string | number | Uint8Array)[]
): Buffer {
  const chunks: Buffer[] = [Buffer.from(`${label}\0`, "utf8")];
  for (const part of parts) {
    const bytes = typeof part === "object" ? Buffer.from(part) : Buffer.from(String(part), "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.byteLength);
    chunks.push(length, bytes);
  }
  return Buffer.concat(chunks);
}
