// A certificate authority that lives as long as one run, and a certificate of it for loopback.
// Nothing else trusts it: who is to, is given caFile.

import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./process.mjs";

// A configuration of our own, so that the system's adds nothing.
const CONFIGURATION = `
[req]
distinguished_name = name
prompt = no
[name]
CN = kms-enclave test
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
`;

/**
 * Makes them in an existing directory of the caller's, which keeps the private keys too. They are
 * good for two days. caFile is the authority's certificate, PEM; key and cert are the server's.
 */
export async function issueForLoopback(directory) {
  const path = (name) => join(directory, name);
  await chmod(directory, 0o700);
  await writeFile(path("openssl.cnf"), CONFIGURATION);
  const make = (name, section, ...more) =>
    run("openssl", [
      "req", "-x509", "-new", "-config", path("openssl.cnf"), "-extensions", section, "-days", "2", "-sha256",
      "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
      "-subj", `/CN=kms-enclave test ${section}`, "-keyout", path(`${name}.key`), "-out", path(`${name}.pem`), ...more,
    ], { timeoutMs: 20_000 });
  await make("ca", "ca");
  await make("server", "server", "-CA", path("ca.pem"), "-CAkey", path("ca.key"));
  return { caFile: path("ca.pem"), key: await readFile(path("server.key")), cert: await readFile(path("server.pem")) };
}
