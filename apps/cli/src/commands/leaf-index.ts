/** Where a leaf says that it stands, read without decoding the rest of it. */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { AuditEntrySchema } from "@nexus/proto/common";

/** Field `index` of AuditEntry. The last one in a leaf counts, as in every protobuf message. */
const INDEX_FIELD = AuditEntrySchema.field.index.number;
const VARINT: number = WireType.Varint;
const LENGTH_DELIMITED: number = WireType.LengthDelimited;
const CONTINUED = 0x80;
const VARINT_BITS = 7;
const TYPE_BITS = 3;
/** A key of up to three bytes has all fields that an entry will ever have. */
const KEY_MAX = 2 ** 21;

/** Returns the place that a leaf names itself, 0 when it names none; undefined for bytes that are no entry, which its hash will
 * tell. It is called for each leaf of a log, where a general reader is a seventh of a verification. */
export function ownIndexOf(leaf: Uint8Array): number | undefined {
  let index = 0;
  let at = 0;
  while (at < leaf.byteLength) {
    let key = 0;
    for (let unit = 1, more = true; more; unit *= 2 ** VARINT_BITS) {
      const byte = leaf[at++] ?? 0;
      key += (byte & ~CONTINUED) * unit;
      more = byte >= CONTINUED;
      if (key >= KEY_MAX) return readSlowly(leaf);
    }
    const type = key & (2 ** TYPE_BITS - 1);
    const isUsual = type === VARINT || type === LENGTH_DELIMITED;
    if (!isUsual || key >>> TYPE_BITS === 0) return readSlowly(leaf);
    let value = 0;
    for (let unit = 1, more = true; more; unit *= 2 ** VARINT_BITS) {
      const byte = leaf[at++] ?? 0;
      value += (byte & ~CONTINUED) * unit;
      more = byte >= CONTINUED;
      if (value > Number.MAX_SAFE_INTEGER) return readSlowly(leaf);
    }
    if (type === LENGTH_DELIMITED) at += value;
    else if (key >>> TYPE_BITS === INDEX_FIELD) index = value;
  }
  return at === leaf.byteLength ? index : undefined;
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
