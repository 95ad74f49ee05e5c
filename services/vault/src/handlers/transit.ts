import { TransitService } from "@nexus/proto/vault";
import type { ServiceImplementation } from "@nexus/rpc";
import { createComputeHmac } from "./compute-hmac.ts";
import { createDecrypt } from "./decrypt.ts";
import { createDecryptBatch } from "./decrypt-batch.ts";
import { createDecryptStream } from "./decrypt-stream.ts";
import type { VaultHandlerDeps } from "./deps.ts";
import { createEncrypt } from "./encrypt.ts";
import { createEncryptBatch } from "./encrypt-batch.ts";
import { createEncryptStream } from "./encrypt-stream.ts";
import { createGenerateDataKey } from "./generate-data-key.ts";
import { createGenerateRandom } from "./generate-random.ts";
import { guardResources } from "./guard-resources.ts";
import { createHashData } from "./hash-data.ts";
import { createHashPassword } from "./hash-password.ts";
import { createRewrap } from "./rewrap.ts";
import { createRewrapBatch } from "./rewrap-batch.ts";
import { createSign } from "./sign.ts";
import { createSignBatch } from "./sign-batch.ts";
import { createVerify } from "./verify.ts";
import { createVerifyBatch } from "./verify-batch.ts";
import { createVerifyHmac } from "./verify-hmac.ts";
import { createVerifyPassword } from "./verify-password.ts";

/** Every method of TransitService. */
export function createTransitHandlers(
  deps: VaultHandlerDeps,
): ServiceImplementation<typeof TransitService> {
  const handlers = {
    encrypt: createEncrypt(deps),
    encryptBatch: createEncryptBatch(deps),
    decrypt: createDecrypt(deps),
    decryptBatch: createDecryptBatch(deps),
    rewrap: createRewrap(deps),
    rewrapBatch: createRewrapBatch(deps),
    encryptStream: createEncryptStream(deps),
    decryptStream: createDecryptStream(deps),
    generateDataKey: createGenerateDataKey(deps),
    sign: createSign(deps),
    signBatch: createSignBatch(deps),
    verify: createVerify(deps),
    verifyBatch: createVerifyBatch(deps),
    computeHmac: createComputeHmac(deps),
    verifyHmac: createVerifyHmac(deps),
    generateRandom: createGenerateRandom(),
    hashData: createHashData(),
    hashPassword: createHashPassword(deps),
    verifyPassword: createVerifyPassword(deps),
  };
  return guardResources(TransitService, handlers, deps.book);
}
