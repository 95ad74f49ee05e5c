/** @nexus/merkle: trees of RFC 6962, their proofs, and signed checkpoints. Knows nothing of what a leaf says. */
export { type Checkpoint, formatCheckpoint, tryParseCheckpoint } from "./checkpoint.ts";
export { Frontier } from "./frontier.ts";
export { EMPTY_ROOT, HASH_BYTES, hashLeaf, hashNode } from "./hashes.ts";
export {
  type LoggedLeaf,
  LogJudge,
  type LogProblem,
  type LogVerdict,
  type TrustedCheckpoint,
} from "./judge-log.ts";
export {
  cosignedAt,
  cosignNote,
  ed25519FromSeed,
  formatNoteKey,
  isSignedBy,
  type NoteKey,
  type NoteSigner,
  rawPublicKey,
  signNote,
  tryParseNoteKey,
} from "./note.ts";
export {
  consistencyTiles,
  edgeTiles,
  inclusionTiles,
  TILE_HASHES,
  type Tile,
  type TileName,
  TileSet,
} from "./tiles.ts";
export {
  type ConsistencyClaim,
  type InclusionClaim,
  verifiesConsistency,
  verifiesInclusion,
} from "./verify-proof.ts";
