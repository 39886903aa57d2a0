// Package release is the recipe of a release: it builds one from source,
// measures it, describes it, and serves it.
//
// A release is four files with the same bytes for every deployment and every
// app, found relative to each other under one content-addressed directory:
//
//	r/<hex>/kms.html        the page: one script with integrity
//	r/<hex>/<hex>.js        the loader, see package web
//	r/<hex>/<hex>.wasm      the enclave, cmd/enclave-wasm
//	r/<hex>/sbom.cdx.json   what the enclave is made of, for people and scanners
//
// The measurement is the SHA-384 of the loader. The loader names the SHA-384 of
// the module, so the measurement covers everything that runs. The directory and
// the loader are named by the first 32 hex digits of the measurement, the
// module by the first 32 hex digits of its own hash.
//
// Beside them, r/<hex>/manifest.json describes the release and one deployment
// of it: a [Manifest].
//
// What an app pins is the measurement in the two forms that a browser can act
// on: the policy, which contains the loader's hash, and the module's hash.
//
// Who may embed a release is configuration: a [Deployment].
package release

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
)

// Release is a built release.
type Release struct {
	Description
	contents [][]byte // of the files, in the order of Description.Files
}

// File is one file of a release.
type File struct {
	Name    string // inside the release's directory
	Content []byte
}

// Contents returns the page, the loader, the module and the SBOM, in this
// order. The caller must not change them.
func (r *Release) Contents() []File {
	files := make([]File, len(r.Files))
	for i, f := range r.Files {
		files[i] = File{f.Name, r.contents[i]}
	}
	return files
}

// Page returns the URL path of the page that apps embed.
func (d Description) Page() string { return d.Path + pageName }

// nameLength is how many hex digits of a hash name a file: 128 bits, which
// nobody can collide with a file that exists. The whole hash is in the pin.
const nameLength = 32

// Names inside the directory of a release that are not hashes.
const (
	pageName = "kms.html"
	sbomName = "sbom.cdx.json"

	// ManifestName is the manifest's name, both in the directory of a release
	// and at the top of a deployment, where it describes the newest one.
	ManifestName = "manifest.json"
)

// digest is a SHA-384 hash.
type digest [sha512.Size384]byte

func hash(content []byte) digest { return sha512.Sum384(content) }

// Integrity returns the form of Subresource Integrity: "sha384-" and base64.
func (d digest) Integrity() string {
	return integrityPrefix + base64.StdEncoding.EncodeToString(d[:])
}

// Hex returns 96 hex digits.
func (d digest) Hex() string { return hex.EncodeToString(d[:]) }

// name returns the start of a file's name.
func (d digest) name() string { return d.Hex()[:nameLength] }

const integrityPrefix = "sha384-"

// parseIntegrity is the inverse of digest.Integrity.
func parseIntegrity(s string) (d digest, ok bool) {
	if !integrityForm.MatchString(s) {
		return d, false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s[len(integrityPrefix):])
	return d, err == nil && copy(d[:], raw) == len(d)
}

// Integrity returns the SHA-384 of content as Subresource Integrity writes it.
func Integrity(content []byte) string { return hash(content).Integrity() }
