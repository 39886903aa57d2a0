// What a tab does while it may be killed at any instant. Functions that travel into the app's page:
// each may use nothing but its arguments, the page's globals, and what prepare put on window.work.

/**
 * Prepares a page that has connected: calls are made with work.run, and what becomes of each is
 * posted to the oracle, in the order of the answers; what gathers during one post goes with the next.
 */
export function prepare(oracle) {
  const waiting = [];
  let posting = false;
  const post = async () => {
    posting = true;
    while (waiting.length > 0) {
      await fetch(oracle, { method: "POST", mode: "no-cors", body: JSON.stringify(waiting.splice(0)) });
    }
    posting = false;
  };
  const report = (one) => {
    waiting.push(one);
    if (!posting) post();
  };
  const told = {
    "jwt.sign": ({ jti, token }) => ({ jti, token }),
    "token.vapid": ({ jti, token }) => ({ jti, token }),
    "keys.create": ({ key: { kid, publicKey } }) => ({ kid, jwk: publicKey.jwk }),
    "keys.rotate": ({ key, retired }) => ({ kid: retired.kid, successor: key.kid, jwk: key.publicKey.jwk }),
    "keys.revoke": ({ key }) => ({ kid: key.kid }),
  };
  window.work = {
    report,
    begun: 0,
    async run({ tag, method, params }, through = kms) {
      work.begun += 1;
      try {
        const result = await through.call(method, params, { timeoutMs: 60_000 });
        report({ tag, ...told[method]?.(result) });
      } catch (error) {
        report({ tag, code: error?.code ?? "thrown", message: String(error?.message ?? error) });
      }
    },
  };
}

/** Begins to make these calls, several at once, and returns. */
export function begin(calls, atOnce) {
  for (let lane = 0; lane < atOnce; lane++) {
    (async () => {
      for (let call; (call = calls.shift()) !== undefined; ) await work.run(call);
    })();
  }
}

/** Begins one call that the user will be asked about; work.asked says when it has ended. */
export function ask(call) {
  work.asked = false;
  work.run(call).then(() => (work.asked = true));
}

/** Sets up one new vault after the other, each under a name of its own and with a key in it. */
export function settle(accounts) {
  (async () => {
    for (const account of accounts) {
      try {
        const other = await connect({ ...configuration, account, container: document.querySelector("#kms"), timeoutMs: 60_000 });
        work.report({ tag: `began ${account}` });
        await other.vault.create({ persistence: "device", lock: "none" });
        work.report({ tag: `set up ${account}` });
        const { key } = await other.keys.create({ purpose: "signing", label: account });
        work.report({ tag: `has key ${account}`, kid: key.kid });
        other.close();
      } catch (error) {
        work.report({ tag: `failed ${account}`, code: error?.code ?? "thrown", message: String(error?.message ?? error) });
        return;
      }
    }
  })();
}

/** What a vault shows of itself: all keys, and the log's entries from one on. */
export async function show(from, since) {
  const { state, reason } = await kms.vault.status();
  if (state !== "unlocked") return { state, reason };
  const verdict = await kms.audit.verify();
  const entries = [], keys = [];
  for (let next = from; next !== undefined && next < verdict.size; ) {
    const page = await kms.audit.entries({ from: next, limit: 500 });
    entries.push(...page.entries);
    next = page.next;
  }
  for (let after; ; ) {
    const page = await kms.keys.list({ limit: 500, ...(after && { after }) });
    keys.push(...page.keys);
    if (!(after = page.next)) break;
  }
  const consistency = await kms.audit.consistent(since ? { since } : {});
  const { counts } = await kms.vault.status();
  return { verdict, entries, keys, counts, consistency, state, reason, alerts: window.events.filter(({ name }) => name === "alert" || name === "closed") };
}

/** What has become of a vault that was being set up; without one, it is set up now. */
export async function showNewcomer(account) {
  const other = await connect({ ...configuration, account, container: document.querySelector("#kms"), timeoutMs: 60_000 });
  try {
    const { state, reason } = await other.vault.status();
    if (state === "absent") await other.vault.create({ persistence: "device", lock: "none" });
    const keys = state === "lost" ? [] : (await other.keys.list()).keys;
    const verdict = state === "lost" ? undefined : await other.audit.verify();
    const signed = keys[0] && (await other.jwt.sign({ kid: keys[0].kid, audience: "after", ttlSeconds: 60 }));
    return { state, reason, kids: keys.map(({ kid }) => kid), verdict, signed: signed !== undefined };
  } finally {
    other.close();
  }
}

/** The file of an audit log. */
export async function exported() {
  let text = "", cursor;
  do {
    const page = await kms.audit.export(cursor ? { cursor } : {});
    text += page.text;
    cursor = page.next;
  } while (cursor);
  return text;
}
