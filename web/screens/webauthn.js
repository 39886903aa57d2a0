// Passkeys (WebAuthn Level 3). The worker verifies what they answer; here they are
// only asked. What their PRF extension yields opens the vault, so an authenticator
// without it is of no use.

const PASSKEY_MS = 120_000; // how long the browser may take with the user
const SEEN_MAX = 40; // characters of an account in an authenticator's list

const hasPasskeys = () => typeof PublicKeyCredential === "function";

const urlSafe = (base64) => base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

const prfOf = (credential) => {
  const first = credential.getClientExtensionResults().prf?.results?.first;
  return first === undefined ? "" : base64Of(first);
};

// Asks for any of the credentials, each with its own salt, and returns a prompt.Assertion.
async function usePasskey(credentials, challenge, signal) {
  const evalByCredential = Object.fromEntries(credentials.map(({ id, salt }) => [urlSafe(id), { first: bytesOf(salt) }]));
  const credential = await navigator.credentials.get({
    signal,
    publicKey: {
      challenge: bytesOf(challenge),
      timeout: PASSKEY_MS,
      userVerification: "required",
      allowCredentials: credentials.map(({ id }) => ({ type: "public-key", id: bytesOf(id) })),
      extensions: { prf: { evalByCredential } },
    },
  });
  const { clientDataJSON, authenticatorData, signature } = credential.response;
  return {
    id: base64Of(credential.rawId),
    clientDataJSON: base64Of(clientDataJSON),
    authenticatorData: base64Of(authenticatorData),
    signature: base64Of(signature),
    prf: prfOf(credential),
  };
}

// Has a passkey made. Returns a prompt.Registration, and whether one that came
// without the PRF's output has a PRF, so that using it will yield one.
async function createPasskey({ app, challenge, user, salt, known }, signal) {
  const host = new URL(app.origin).host;
  const name = app.account ? `${printable(app.account, SEEN_MAX)} (${host})` : host;
  const credential = await navigator.credentials.create({
    signal,
    publicKey: {
      rp: { name: "Key enclave" },
      user: { id: bytesOf(user), name, displayName: name },
      challenge: bytesOf(challenge),
      pubKeyCredParams: [-7, -8].map((alg) => ({ type: "public-key", alg })),
      timeout: PASSKEY_MS,
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "none",
      excludeCredentials: known.map((id) => ({ type: "public-key", id: bytesOf(id) })),
      extensions: { prf: { eval: { first: bytesOf(salt) } } },
    },
  });
  const { response } = credential;
  const created = {
    id: base64Of(credential.rawId),
    clientDataJSON: base64Of(response.clientDataJSON),
    authenticatorData: base64Of(response.getAuthenticatorData()),
    publicKey: base64Of(response.getPublicKey() ?? new ArrayBuffer(0)),
    algorithm: response.getPublicKeyAlgorithm(),
    prf: prfOf(credential),
  };
  return { created, unfinished: created.prf === "" && credential.getClientExtensionResults().prf?.enabled === true };
}

// What a screen does with the browser's own dialog: one at a time, ended with the
// screen, and a no in it leaves the screen as it was.
class PasskeyTask {
  #stage;
  #running;

  constructor(stage) {
    this.#stage = stage;
    stage.atEnd(() => this.#running?.abort());
  }

  get running() {
    return this.#running !== undefined;
  }

  async run(ask, use) {
    if (this.#running) return;
    const task = (this.#running = new AbortController());
    this.#stage.note(say("passkey.follow"));
    try {
      const result = await ask(task.signal);
      this.#stage.note("");
      if (!task.signal.aborted) use(result);
    } catch (error) {
      if (!task.signal.aborted) this.#failed(error);
    } finally {
      this.#running = undefined;
    }
  }

  #failed({ name }) {
    this.#stage.note("");
    if (name === "InvalidStateError") this.#stage.problem(say("problem.passkey-known"));
    else if (name === "NotAllowedError" || name === "AbortError") this.#stage.note(say("passkey.stopped"));
    else this.#stage.problem(say("passkey.failed", { error: printable(String(name), 60) }));
  }
}
