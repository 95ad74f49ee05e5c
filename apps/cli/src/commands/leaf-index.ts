/** Where a leaf says that it stands, read without decoding the rest of it. */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** Field `index` of AuditEntry; the last one in a leaf counts, as in every protobuf message. Not asked of the contract, which
 * takes a tenth of a second to load; a test compares. */
export const INDEX_FIELD = 20;
const VARINT: number = WireType.Varint;
const LENGTH_DELIMITED: number = WireType.LengthDelimited;
/** What the last of the ten bytes that a number may have counts. */
const UNIT_MAX = 2 ** 63;

/** Returns the place that a leaf names itself, 0 when it names none; undefined for bytes that are no entry, which its hash will
 * tell. It is called for each leaf of a log, where a general reader is a seventh of a verification; for the same reason numbers of one
 * byte, nearly all, are read without a loop. */
export function ownIndexOf(leaf: Uint8Array): number | undefined {
  const end = leaf.byteLength;
  let index = 0;
  let at = 0;
  while (at < end) {
    let key = leaf[at++] as number;
    if (key > 0x7f) {
      // A second byte, which is the last one that is read here.
      const high = leaf[at++] ?? 0x80;
      if (high > 0x7f) return readSlowly(leaf);
      key = (key & 0x7f) | (high << 7);
    }
    const type = key & 7;
    const isBytes = type === LENGTH_DELIMITED;
    if (key < 8 || (!isBytes && type !== VARINT)) return readSlowly(leaf);
    let value = leaf[at++] ?? 0;
    if (value > 0x7f) {
      value &= 0x7f;
      let more = true;
      for (let unit = 0x80; more && unit <= UNIT_MAX; unit *= 0x80) {
        const byte = leaf[at++] ?? 0;
        value += (byte & 0x7f) * unit;
        more = byte > 0x7f;
      }
      if (more || value > Number.MAX_SAFE_INTEGER) return readSlowly(leaf);
    }
    if (isBytes) at += value;
    else if (key >>> 3 === INDEX_FIELD) index = value;
  }
  return at === end ? index : undefined;
}

/** For what no auditor writes. */
function readSlowly(leaf: Uint8Array): number | undefined {
  let index: number | undefined;
  try {
    const reader = new BinaryReader(leaf);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === INDEX_FIELD && type === WireType.Varint) index = Number(reader.uint64());
      else reader.skip(type);
    }
  } catch {
    return undefined;
  }
  return index ?? 0;
}
