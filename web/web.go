// Package web holds what the enclave's origin serves, as sources.
//
//	kms.html    the page: one script with integrity, nothing else
//	loader.js   the launcher: checks what it runs under, then starts the worker
//	screens/    the enclave's own dialogs, one idea a file
//	words/      what they say, one file a language
//	worker.js   the worker's glue: hashes the module, compiles it, starts Go
//
// Package release joins them with Go's wasm_exec.js into one loader. The joined
// text starts with three constants that the sources use without defining them:
// RELEASE = { version, commit, wasm }, WORKER, the text of the worker, and
// WORDS = { language: { key: text } }.
//
// Everything here but words/ is ASCII without escape characters, and in the loader
// the words are, too. The host chooses the charset that a script is decoded with,
// and integrity covers bytes: text that means the same in every charset is the only
// text that is measured.
package web

import "embed"

// Files are the sources that release joins.
//
//go:embed kms.html loader.js worker.js screens/*.js words/*.json
var Files embed.FS
