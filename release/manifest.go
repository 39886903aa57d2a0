package release

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// ManifestSchema is the version of the manifest's form.
const ManifestSchema = 1

// Manifest describes a release and one deployment of it. Its JSON text is
// canonical (RFC 8785), so that equal manifests are equal bytes. An example:
//
//	{"deployment":{"frameAncestors":["https://app.example"],"headers":{"kms.html":{…},…},"origin":"https://kms.example"},
//	 "release":{"build":{"env":{"GOARCH":"wasm",…},"flags":["-trimpath",…],"tags":[],"wasmExec":"sha384-…"},"commit":"…40 hex digits…",
//	  "files":[{"name":"kms.html","sha384":"sha384-…","size":271},…],"measurement":"…96 hex digits…","path":"/r/…/",
//	  "policy":"default-src 'none'; …","sdk":[{"name":"kms.js","sha384":"sha384-…","size":4711},…],"storage":1,
//	  "toolchain":"go1.27.3","version":"1.2.3","wasm":"sha384-…"},
//	 "schema":1}
//
// The release part is the same for everybody, and holds nothing that the rest
// of it does not determine: names and path follow from the hashes, the policy
// from the measurement. The deployment part follows from its own frameAncestors
// and origin. [ParseManifest] accepts nothing else.
type Manifest struct {
	Schema     int                `json:"schema"`
	Release    Description        `json:"release"`
	Deployment DeploymentManifest `json:"deployment"`
}

// Description is what anybody who rebuilds the release must get, too.
type Description struct {
	Version     string     `json:"version"`     // semantic version, or "dev"
	Commit      string     `json:"commit"`      // 40 hex digits, or "unknown"
	Toolchain   string     `json:"toolchain"`   // "go1.27.3"
	Build       BuildInfo  `json:"build"`       // everything else that the bytes depend on, beside the source
	Storage     int        `json:"storage"`     // version of the stored data; older releases cannot open newer data
	Path        string     `json:"path"`        // of the files, on any origin: "/r/<hex>/"
	Files       []FileInfo `json:"files"`       // page, loader, module, SBOM
	SDK         []FileInfo `json:"sdk"`         // the modules that an app vendors, sorted by name; the enclave's host does not serve them
	Policy      string     `json:"policy"`      // the pin's policy, see [Policy]
	Wasm        string     `json:"wasm"`        // SHA-384 of the module: "sha384-" and base64
	Measurement string     `json:"measurement"` // SHA-384 of the loader, 96 hex digits
}

// BuildInfo is how the go command was called.
type BuildInfo struct {
	Env      map[string]string `json:"env"`
	Flags    []string          `json:"flags"`
	Tags     []string          `json:"tags"`
	WasmExec string            `json:"wasmExec"` // SHA-384 of the toolchain's wasm_exec.js
}

// FileInfo is one file.
type FileInfo struct {
	Name   string `json:"name"`
	SHA384 string `json:"sha384"` // "sha384-" and base64
	Size   int    `json:"size"`   // bytes
}

func describe(name string, content []byte) FileInfo {
	return FileInfo{Name: name, SHA384: hash(content).Integrity(), Size: len(content)}
}

// DeploymentManifest is how one operator serves the release.
type DeploymentManifest struct {
	Deployment
	Headers map[string]Headers `json:"headers"` // by file name
}

// Manifest describes r as deployed by d.
func (r *Release) Manifest(d Deployment) (Manifest, error) {
	return newManifest(r.Description, d)
}

func newManifest(r Description, d Deployment) (Manifest, error) {
	d.FrameAncestors = slices.Compact(slices.Sorted(slices.Values(d.FrameAncestors)))
	headers, err := r.Headers(d)
	if err != nil {
		return Manifest{}, err
	}
	return Manifest{Schema: ManifestSchema, Release: r, Deployment: DeploymentManifest{d, headers}}, nil
}

// Encode returns the canonical JSON text.
func (m Manifest) Encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	canonical := jsontext.Value(text)
	if err := canonical.Canonicalize(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return canonical, nil
}

// MaxManifest is the most bytes that a manifest may have.
const MaxManifest = 256 << 10

// MaxFile is the most bytes that a file of a release may have.
const MaxFile = 32 << 20

// What can be wrong with a manifest. [ParseManifest] wraps these.
var (
	ErrManifestTruncated = errors.New("manifest ends too early")
	ErrManifestSyntax    = errors.New("manifest is not the JSON of one")
	ErrManifestNewer     = errors.New("manifest is of a newer form than this command knows")
	ErrManifestForm      = errors.New("manifest is not in canonical form")
	ErrManifestPath      = errors.New("manifest names a file outside its release")
	ErrManifestValue     = errors.New("manifest contradicts itself")
)

// ParseManifest parses a manifest and checks everything that can be checked
// without the files. Its error wraps one of the errors above.
func ParseManifest(text []byte) (Manifest, error) {
	if len(text) > MaxManifest {
		return Manifest{}, fmt.Errorf("%w: got more than %d bytes", ErrManifestSyntax, MaxManifest)
	}
	if err := checkSchema(text); err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m, json.RejectUnknownMembers(true)); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifestSyntax, err)
	}
	canonical, err := m.Encode()
	if err != nil || !bytes.Equal(canonical, text) {
		return Manifest{}, fmt.Errorf("%w (RFC 8785): %s", ErrManifestForm, firstDifference(text, canonical))
	}
	if err := m.Release.check(); err != nil {
		return Manifest{}, err
	}
	if a := m.Deployment.FrameAncestors; !slices.IsSortedFunc(a, strings.Compare) || len(slices.Compact(slices.Clone(a))) != len(a) {
		return Manifest{}, fmt.Errorf("%w: deployment.frameAncestors: got %q, wanted them sorted, each once", ErrManifestValue, a)
	}
	headers, err := m.Release.Headers(m.Deployment.Deployment)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifestValue, err)
	}
	if !reflect.DeepEqual(headers, m.Deployment.Headers) {
		return Manifest{}, fmt.Errorf("%w: deployment.headers: %s", ErrManifestValue, headerDifference(m.Deployment.Headers, headers))
	}
	return m, nil
}

// checkSchema looks at nothing but the version, so that a newer form is called
// what it is.
func checkSchema(text []byte) error {
	var v struct {
		Schema int `json:"schema"`
	}
	err := json.Unmarshal(text, &v)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || len(text) == 0:
		return fmt.Errorf("%w: got %d bytes", ErrManifestTruncated, len(text))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrManifestSyntax, err)
	case v.Schema > ManifestSchema:
		return fmt.Errorf("%w: got schema %d, wanted %d", ErrManifestNewer, v.Schema, ManifestSchema)
	case v.Schema != ManifestSchema:
		return fmt.Errorf("%w: schema: got %d, wanted %d", ErrManifestSyntax, v.Schema, ManifestSchema)
	}
	return nil
}

var (
	measurementForm = regexp.MustCompile(`\A[0-9a-f]{96}\z`)
	tagForm         = regexp.MustCompile(`\A[a-z0-9_]{1,32}\z`)
	toolchainForm   = regexp.MustCompile(`\Ago1(\.[0-9]+){1,2}\z`)
	sdkNameForm     = regexp.MustCompile(`\A[a-z0-9][a-z0-9-]{0,63}\.js\z`)
)

// check returns an error unless d determines itself as the form says.
func (d Description) check() error {
	bad := func(member, format string, args ...any) error {
		return fmt.Errorf("%w: release.%s: %s", ErrManifestValue, member, fmt.Sprintf(format, args...))
	}
	wasm, wasmOK := parseIntegrity(d.Wasm)
	loader, err := ParsePolicy(d.Policy)
	measured, _ := parseIntegrity(loader)
	switch {
	case !versionForm.MatchString(d.Version):
		return bad("version", "got %q, wanted a semantic version", d.Version)
	case !commitForm.MatchString(d.Commit):
		return bad("commit", "got %q, wanted 40 hex digits or unknown", d.Commit)
	case !toolchainForm.MatchString(d.Toolchain):
		return bad("toolchain", "got %q, wanted a version of Go", d.Toolchain)
	case slices.ContainsFunc(d.Build.Tags, func(tag string) bool { return !tagForm.MatchString(tag) }):
		return bad("build.tags", "got %q, wanted build tags of letters, digits and underscores", d.Build.Tags)
	case !integrityForm.MatchString(d.Build.WasmExec):
		return bad("build.wasmExec", "got %q, wanted a SHA-384", d.Build.WasmExec)
	case !measurementForm.MatchString(d.Measurement):
		return bad("measurement", "got %q, wanted 96 hex digits", d.Measurement)
	case !wasmOK:
		return bad("wasm", "got %q, wanted a SHA-384", d.Wasm)
	case err != nil:
		return bad("policy", "%v", err)
	case measured.Hex() != d.Measurement:
		return bad("policy", "it pins the loader %s, but the measurement is %s", measured.Hex(), d.Measurement)
	case d.Path != pathOf(d.Measurement):
		return fmt.Errorf("%w: release.path: got %q, wanted %q", ErrManifestPath, d.Path, pathOf(d.Measurement))
	case d.Storage < 1:
		return bad("storage", "got %d, wanted a version", d.Storage)
	}
	if err := d.checkFiles(loader, wasm); err != nil {
		return err
	}
	return d.checkSDK()
}

// checkFiles returns an error unless the files are the ones of a release, under
// the only names they can have.
func (d Description) checkFiles(loader string, wasm digest) error {
	names := []string{pageName, d.Measurement[:nameLength] + ".js", wasm.name() + ".wasm", sbomName}
	if len(d.Files) != len(names) {
		return fmt.Errorf("%w: release.files: got %d, wanted %d", ErrManifestValue, len(d.Files), len(names))
	}
	for i, f := range d.Files {
		switch {
		case strings.ContainsAny(f.Name, `/\`) || f.Name == "." || f.Name == "..":
			return fmt.Errorf("%w: %q", ErrManifestPath, f.Name)
		case f.Name != names[i]:
			return fmt.Errorf("%w: release.files: got %q, wanted %q", ErrManifestValue, f.Name, names[i])
		}
		if err := f.check(); err != nil {
			return fmt.Errorf("%w: release.files: %w", ErrManifestValue, err)
		}
	}
	switch {
	case d.Files[1].SHA384 != loader:
		return fmt.Errorf("%w: release.files: the loader is %s, the policy pins %s", ErrManifestValue, d.Files[1].SHA384, loader)
	case d.Files[2].SHA384 != d.Wasm:
		return fmt.Errorf("%w: release.files: the module is %s, release.wasm is %s", ErrManifestValue, d.Files[2].SHA384, d.Wasm)
	}
	return nil
}

func (d Description) checkSDK() error {
	if len(d.SDK) == 0 {
		return fmt.Errorf("%w: release.sdk: got no files", ErrManifestValue)
	}
	for i, f := range d.SDK {
		switch {
		case !sdkNameForm.MatchString(f.Name):
			return fmt.Errorf("%w: release.sdk: %q", ErrManifestPath, f.Name)
		case i > 0 && f.Name <= d.SDK[i-1].Name:
			return fmt.Errorf("%w: release.sdk: %q comes after %q", ErrManifestValue, f.Name, d.SDK[i-1].Name)
		}
		if err := f.check(); err != nil {
			return fmt.Errorf("%w: release.sdk: %w", ErrManifestValue, err)
		}
	}
	return nil
}

func (f FileInfo) check() error {
	switch {
	case !integrityForm.MatchString(f.SHA384):
		return fmt.Errorf("%q: got sha384 %q, wanted a SHA-384", f.Name, f.SHA384)
	case f.Size < 1 || f.Size > MaxFile:
		return fmt.Errorf("%q: got size %d, wanted 1 to %d", f.Name, f.Size, MaxFile)
	}
	return nil
}

// pathOf returns the URL path of the directory of the release with a measurement.
func pathOf(measurement string) string { return "/r/" + measurement[:nameLength] + "/" }

// firstDifference says where two texts part, in quotes, a few bytes of each.
func firstDifference(got, want []byte) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	excerpt := func(b []byte) []byte { return b[min(at, len(b)):min(at+16, len(b))] }
	return fmt.Sprintf("byte %d: got %q, wanted %q", at, excerpt(got), excerpt(want))
}

// headerDifference names the first header that is not as it should be.
func headerDifference(got, want map[string]Headers) string {
	for _, file := range sortedKeys(want) {
		for _, name := range sortedKeys(want[file]) {
			if got[file][name] != want[file][name] {
				return fmt.Sprintf("%s: %s: got %q, wanted %q", file, name, got[file][name], want[file][name])
			}
		}
		for _, name := range sortedKeys(got[file]) {
			if _, ok := want[file][name]; !ok {
				return fmt.Sprintf("%s: %q: not a header of this release", file, name)
			}
		}
	}
	return fmt.Sprintf("got headers of %d files, wanted %d", len(got), len(want))
}
