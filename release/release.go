// Package release is the recipe of a release: it builds one from source,
// measures it, describes it, and serves it.
//
// A release is three files with the same bytes for every deployment and every
// app, found relative to each other under one content-addressed directory:
//
//	r/<hex>/kms.html     the page: one script with integrity
//	r/<hex>/<hex>.js     the loader, see package web
//	r/<hex>/<hex>.wasm   the enclave, cmd/enclave-wasm
//
// The measurement is the SHA-384 of the loader. The loader names the SHA-384 of
// the module, so the measurement covers everything that runs. The directory and
// the loader are named by the first 32 hex digits of the measurement, the
// module by the first 32 hex digits of its own hash.
//
// What an app pins is the measurement in the two forms that a browser can act
// on: [Release.Policy], which contains the loader's hash, and [Release.Wasm].
//
// Who may embed a release is configuration: a [Deployment].
package release

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"path"
)

// Release is a built release.
type Release struct {
	Version     string // semantic version, or "dev"
	Commit      string // 40 hex digits, or "unknown"
	Toolchain   string // "go1.27.3"
	Tags        []string
	Measurement string // SHA-384 of the loader, 96 hex digits
	Policy      string // the pin's policy, see Policy
	Wasm        string // the module's SHA-384: "sha384-" and base64

	files []File // kms.html, the loader, the module
}

// File is one file of a release.
type File struct {
	Name    string // inside the release's directory
	Content []byte
}

// Files returns the page, the loader and the module, in this order. The caller
// must not change their content.
func (r *Release) Files() []File { return r.files }

// Dir returns the URL path of the release's directory: "/r/<hex>/".
func (r *Release) Dir() string { return "/r/" + r.Measurement[:nameLength] + "/" }

// Page returns the URL path of the page that apps embed.
func (r *Release) Page() string { return path.Join(r.Dir(), pageName) }

// nameLength is how many hex digits of a hash name a file: 128 bits, which
// nobody can collide with a file that exists. The whole hash is in the pin.
const nameLength = 32

const pageName = "kms.html"

// digest is a SHA-384 hash.
type digest [sha512.Size384]byte

func hash(content []byte) digest { return sha512.Sum384(content) }

// Integrity returns the form of Subresource Integrity: "sha384-" and base64.
func (d digest) Integrity() string {
	return "sha384-" + base64.StdEncoding.EncodeToString(d[:])
}

// Hex returns 96 hex digits.
func (d digest) Hex() string { return hex.EncodeToString(d[:]) }

// name returns the start of a file's name.
func (d digest) name() string { return d.Hex()[:nameLength] }
