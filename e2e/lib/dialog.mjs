// The user in front of the enclave's own dialog: real clicks and real typing in the measured frame.

/** Types the word, waits out the time to think, and confirms. */
export async function confirmDestroy(page, enclave) {
  const frame = await page.frame(enclave);
  await frame.type("#word", "DELETE");
  await frame.waitFor("#confirm:enabled", 25_000);
  await frame.click("#confirm");
}

/** Says no. */
export async function cancelDialog(page, enclave) {
  const frame = await page.frame(enclave);
  await frame.click("#cancel");
}
