import assert from "node:assert/strict";
import { before, test } from "node:test";
import { connect } from "../kms.js";
import { install } from "./dom.js";

const url = `https://kms.example/r/${"0".repeat(32)}/kms.html`;

before(install);

/** Which option connect names; options are looked at in order, and the container after the account. */
const named = (options) => connect({ url, container: {}, ...options }).then(() => assert.fail("connected"), (error) => error.details.member);

test("accounts: any well-formed text of at most 128 bytes of UTF-8, also one that begins with a byte order mark", async () => {
  for (const account of ["", "alice", "\uFEFFalice", "\0", "é".repeat(64), "𝒳".repeat(32)]) assert.equal(await named({ account }), "container", account);
  for (const account of [undefined, 5, "\uD800", "a\uDC00b", "é".repeat(65), "a".repeat(129)]) assert.equal(await named({ account }), "account", String(account));
});

test("other options are named as well", async () => {
  const good = { account: "alice", container: undefined };
  assert.equal(await named({ ...good, timeoutMs: 0 }), "timeoutMs");
  assert.equal(await named({ ...good, timeoutMs: 2 ** 31 }), "timeoutMs");
  assert.equal(await named({ ...good, share: new Uint8Array(31) }), "share");
  assert.equal(await named({ ...good, minimum: "trusted" }), "minimum");
  assert.equal(await named({ ...good, url: "https://app.example/" }), "url");
  assert.equal(await named({ ...good, pinned: {} }), "pinned");
  await assert.rejects(connect({ ...good, url, minimum: "checked" }), { code: "launch_refused" });
});
