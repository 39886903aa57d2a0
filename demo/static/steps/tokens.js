// Steps: a JWT and a VAPID token, each verified here with the public key alone.

import { checks, copyable, facts, h, more, time } from "../dom.js";
import { finding, needsKey } from "../step.js";
import { verifyToken } from "../verify.js";

const longest = 86_400; // seconds that a token may be valid for; the enclave's rule, not the demo's

export const jwt = {
  id: "jwt",

  needs: needsKey("signing"),

  async run(session, form) {
    const { signing } = session;
    const subject = form.get("subject").trim();
    const ttlSeconds = Number(form.get("ttlSeconds"));
    try {
      const { token } = await session.ask((kms) => kms.jwt.sign({ kid: signing.kid, audience: form.get("audience"), ...(subject && { subject }), ttlSeconds, claims: { scope: "demo" } }));
      return { show: await result(signing, token) };
    } catch (error) {
      if (ttlSeconds <= longest || error.details?.member !== "/params/ttlSeconds") throw error;
      return { show: tooLong(error), done: false };
    }
  },
};

/** The refusal that this step invites people to see: what they came for, so no failure. */
function tooLong(error) {
  return h("div", { class: "notice", "data-tone": "good" },
    h("p", {}, h("strong", {}, "Refused, as it should be: no token is valid for ten years.")),
    h("p", {}, "The enclave signs for 24 hours at most, whatever an app asks for. Nothing was signed."),
    h("p", { class: "fine" }, "In its words: ", h("code", {}, error.code), `, seconds asked for: ${finding(error)}.`));
}

export const vapid = {
  id: "vapid",

  needs: needsKey("vapid"),

  async run(session, form) {
    const key = session.vapid;
    const { token } = await session.ask((kms) => kms.token.vapid({ kid: key.kid, endpoint: form.get("endpoint"), subject: form.get("subject"), ttlSeconds: 15 * 60 }));
    return {
      show: [
        await result(key, token),
        more("The header that a push service gets", copyable("Authorization", `vapid t=${token}, k=${key.publicKey.raw}`)),
      ],
    };
  },
};

async function result(key, token) {
  const { header, claims, named, valid, forgeryRefused } = await verifyToken(key, token);
  return [
    copyable("Token", token, coloured(token)),
    checks([
      [valid, "The signature is right: checked here with the public key."],
      [named, "Its header names that key and its algorithm."],
      [forgeryRefused, "With a single bit changed it is refused."],
    ]),
    facts([["For", claims.aud], ["About", claims.sub], ["Ends", time(claims.exp)]]),
    more("What it says", copyable("Header and claims", JSON.stringify({ header, claims }), JSON.stringify({ header, claims }, null, 2))),
  ];
}

/** Header, claims and signature, each in its colour. */
function coloured(token) {
  const parts = token.split(".");
  const names = ["header", "claims", "signature"];
  const shown = parts.map((part, i) => [i > 0 ? "." : "", h("span", { class: `token-${names[i]}` }, part)]);
  return h("span", { class: "token" }, shown);
}
