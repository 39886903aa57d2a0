package release

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// ManifestSchema is the version of the manifest's form.
const ManifestSchema = 1

// Manifest describes a release and one deployment of it. Its JSON text is
// canonical (RFC 8785), so that equal manifests are equal bytes. An example:
//
//	{"deployment":{"frameAncestors":["https://app.example"],"headers":{"kms.html":{…},…}},
//	 "release":{"build":{"arch":"wasm","flags":["-trimpath",…],"os":"js","tags":[]},"commit":"…40 hex digits…",
//	  "files":[{"name":"kms.html","sha384":"sha384-…","size":271},…],"measurement":"…96 hex digits…","path":"/r/…/",
//	  "policy":"default-src 'none'; …","toolchain":"go1.27.3","version":"1.2.3","wasm":"sha384-…"},
//	 "schema":1}
//
// Only the release part is the same for everybody.
type Manifest struct {
	Schema     int                `json:"schema"`
	Release    ReleaseManifest    `json:"release"`
	Deployment DeploymentManifest `json:"deployment"`
}

// ReleaseManifest is what anybody who rebuilds the release must get, too.
type ReleaseManifest struct {
	Version     string         `json:"version"`
	Commit      string         `json:"commit"`
	Toolchain   string         `json:"toolchain"`
	Build       BuildManifest  `json:"build"`
	Path        string         `json:"path"` // of the files, on any origin
	Files       []FileManifest `json:"files"`
	Policy      string         `json:"policy"`
	Wasm        string         `json:"wasm"`
	Measurement string         `json:"measurement"`
}

// BuildManifest is how the go command was called.
type BuildManifest struct {
	OS    string   `json:"os"`
	Arch  string   `json:"arch"`
	Flags []string `json:"flags"`
	Tags  []string `json:"tags"`
}

// FileManifest is one file.
type FileManifest struct {
	Name   string `json:"name"`
	SHA384 string `json:"sha384"` // "sha384-" and base64
	Size   int    `json:"size"`   // bytes
}

// DeploymentManifest is how one operator serves the release.
type DeploymentManifest struct {
	Deployment
	Headers map[string]Headers `json:"headers"` // by file name
}

// Manifest describes r as deployed by d.
func (r *Release) Manifest(d Deployment) (Manifest, error) {
	headers, err := r.Headers(d)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Schema: ManifestSchema,
		Release: ReleaseManifest{
			Version: r.Version, Commit: r.Commit, Toolchain: r.Toolchain,
			Build: BuildManifest{OS: buildEnv["GOOS"], Arch: buildEnv["GOARCH"], Flags: buildFlags, Tags: r.Tags},
			Path:  r.Dir(), Policy: r.Policy, Wasm: r.Wasm, Measurement: r.Measurement,
		},
		Deployment: DeploymentManifest{Deployment: d, Headers: headers},
	}
	for _, f := range r.files {
		m.Release.Files = append(m.Release.Files, FileManifest{Name: f.Name, SHA384: hash(f.Content).Integrity(), Size: len(f.Content)})
	}
	return m, nil
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
