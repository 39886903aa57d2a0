// Package web holds what the enclave's origin serves, as sources.
//
//	kms.html    the page: one script with integrity, nothing else
//	loader.js   the launcher: checks what it runs under, then starts the worker
//	screens.js  the enclave's own dialogs
//	worker.js   the worker's glue: hashes the module, compiles it, starts Go
//
// Package release joins them with Go's wasm_exec.js into one loader. The joined
// text starts with two constants that the sources use without defining them:
// RELEASE = { version, commit, wasm } and WORKER, the text of the worker.
//
// Everything here is ASCII without escape characters. The host chooses the
// charset that a script is decoded with, and integrity covers bytes: text that
// means the same in every charset is the only text that is measured.
package web

import "embed"

// Files are the sources that release joins.
//
//go:embed kms.html loader.js screens.js worker.js
var Files embed.FS
