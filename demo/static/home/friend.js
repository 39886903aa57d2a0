// A friend who sends a message: somebody else's server, which is there while this page is not. The demo's own
// server plays it (friend.go): it is given a message and a token to send it with, and no more.

const path = "/friend";
const PATIENCE_MS = 3000; // beyond the delay, for the relay's answer

/**
 * Hands over a message for later.
 *
 * @param {{ url: string, token: string, message: string, delaySeconds: number }} message
 * @returns {Promise<string>} for outcomeOf
 */
export async function handOver(message) {
  const { id } = await asked(path, message);
  return id;
}

/** What went wrong with a message, in words, once its time has come; nothing if the relay has taken it. */
export async function outcomeOf(id, delaySeconds) {
  await new Promise((resolve) => setTimeout(resolve, delaySeconds * 1000 + PATIENCE_MS));
  try {
    const { state, status } = await asked(`${path}/${id}`);
    if (state === "done" && status === 202) return undefined;
    if (status) return `The relay did not take the message: it answered ${status}. It refuses a token that has ended, or whose relay you have stopped.`;
    return "The relay did not answer your friend's server, so no message comes.";
  } catch {
    return undefined; // nobody can say; the counts above do
  }
}

async function asked(where, body) {
  let response;
  try {
    response = await fetch(where, { method: "POST", ...(body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }) });
  } catch (cause) {
    throw worded("Your friend's server, which is the demo's own, does not answer. Is the demo still running in its terminal?", cause);
  }
  if (!response.ok) throw worded(`Your friend's server did not take the message: ${(await response.text()).trim()}.`);
  return await response.json();
}

const worded = (inWords, cause) => Object.assign(new Error(inWords, { cause }), { code: "internal", inWords });
