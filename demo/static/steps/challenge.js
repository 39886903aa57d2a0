// Step: a challenge, signed for a purpose, verified by this page and by the enclave.

import { checks, copyable } from "../dom.js";
import { challengeMessage, decode, encode, flip, verify } from "../verify.js";
import { needsKey } from "../step.js";

export const challenge = {
  id: "challenge",

  needs: needsKey("signing"),

  async run(session, form) {
    const { kms, signing } = session;
    const context = form.get("context");
    const data = new TextEncoder().encode(form.get("data"));
    const { signature } = await session.ask(() => kms.challenge.sign({ kid: signing.kid, context, data: encode(data) }));
    const bytes = decode(signature);
    const check = (name, subject) => verify(signing, bytes, challengeMessage(name, subject));
    const { valid } = await kms.challenge.verify({ alg: signing.alg, publicKey: signing.publicKey.raw, context, data: encode(data), signature });
    return {
      show: [
        copyable("Signature", signature),
        checks([
          [await check(context, data), "The signature is right: checked here with the public key."],
          [valid, "The enclave's own check, which needs no vault, agrees."],
          [!(await check(context, flip(data))), "For another challenge it is refused."],
          [!(await check(`${context}!`, data)), "For another purpose it is refused."],
        ]),
      ],
    };
  },
};

/** A challenge as a server would make one. */
export const fresh = () => encode(crypto.getRandomValues(new Uint8Array(18)));
