package release

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// The bill of materials says what the enclave's module is compiled from, in the
// form of CycloneDX 1.6, as a function of the source alone: it holds no time,
// no serial number and no name of a machine.

// licences of everything that is compiled in, as SPDX names them. What is not
// in this list does not get into a release: a new dependency is read first, and
// its reason written down.
var licences = map[string]string{
	"std":                 "BSD-3-Clause", // the Go standard library and runtime
	"golang.org/x/crypto": "BSD-3-Clause", // Argon2id, which neither the standard library nor WebCrypto has (argon2, and blake2b under it)
	"golang.org/x/mod":    "BSD-3-Clause", // checkpoints and Merkle trees of the audit log (sumdb/note, sumdb/tlog)
}

// goModule is a module that packages of the enclave come from.
type goModule struct{ Path, Version, Sum string }

// listModules asks the go command which modules the enclave is compiled from.
func listModules(ctx context.Context, o Options, tools map[string]string) ([]goModule, error) {
	args := append([]string{"list", "-deps", "-json=Module,Dir,GoFiles,SFiles,EmbedFiles", "-mod=readonly"}, tagsFlag(o.Tags)...)
	out, err := run(ctx, o.Source, buildEnviron(tools), "go", append(args, mainPackage)...)
	if err != nil {
		return nil, fmt.Errorf("listing modules: %w", err)
	}
	modules := map[string]goModule{}
	for d := jsontext.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir        string
			GoFiles    []string
			SFiles     []string
			EmbedFiles []string
			Module     *struct {
				goModule
				Main    bool
				Replace *goModule
			}
		}
		err := json.UnmarshalDecode(d, &p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("listing modules: %w", err)
		}
		switch m := p.Module; {
		case m == nil: // the standard library
		case m.Main:
			if err := checkFiles(o.Source, p.Dir, slices.Concat(p.GoFiles, p.SFiles, p.EmbedFiles)); err != nil {
				return nil, err
			}
		case m.Replace != nil || m.Sum == "":
			return nil, fmt.Errorf("listing modules: %s is replaced, or has no checksum: what would be compiled is not what go.sum names", m.Path)
		default:
			modules[m.Path] = m.goModule
		}
	}
	return slices.SortedFunc(maps.Values(modules), func(a, b goModule) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) }), nil
}

// checkFiles returns an error unless a package's files are regular files inside
// the checkout: what a link leads to is no part of a commit.
func checkFiles(source, dir string, names []string) error {
	root, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if real != root && !strings.HasPrefix(real, root+string(filepath.Separator)) {
		return fmt.Errorf("source: %q lies outside the checkout", dir)
	}
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(real, name)); err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("source: %q is not a regular file of the checkout", filepath.Join(dir, name))
		}
	}
	return nil
}

func billOfMaterials(p parts, modules []goModule) ([]byte, error) {
	module := hash(p.module)
	root := component(cdx.ComponentTypeApplication, modulePath, p.version, "MIT")
	root.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA384, Value: module.Hex()}}
	root.Description = "The enclave's WebAssembly module. The hash is of the module; what it was built from is below."

	std := component(cdx.ComponentTypeLibrary, "std", Toolchain[len("go"):], licences["std"])
	std.Properties = &[]cdx.Property{{Name: "go:toolchain", Value: Toolchain}}
	glue := component(cdx.ComponentTypeFile, "wasm_exec.js", Toolchain[len("go"):], licences["std"])
	glue.PackageURL, glue.BOMRef = std.PackageURL+"#lib/wasm/wasm_exec.js", std.PackageURL+"#lib/wasm/wasm_exec.js"
	glue.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA384, Value: hash([]byte(p.wasmExec)).Hex()}}

	components := []cdx.Component{std, glue}
	for _, m := range modules {
		licence, ok := licences[m.Path]
		if !ok {
			return nil, fmt.Errorf("sbom: %s %s is compiled in, but release/sbom.go does not know it; read it, and write down its licence and the reason for it", m.Path, m.Version)
		}
		c := component(cdx.ComponentTypeLibrary, m.Path, m.Version, licence)
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: m.Sum}}
		components = append(components, c)
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = ""
	bom.Metadata = &cdx.Metadata{Component: &root}
	bom.Components = &components
	uses := []string{}
	for _, c := range components {
		uses = append(uses, c.BOMRef)
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: root.BOMRef, Dependencies: &uses}}
	var text bytes.Buffer
	err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	return text.Bytes(), err
}

func component(kind cdx.ComponentType, name, version, licence string) cdx.Component {
	url := "pkg:golang/" + name + "@" + version
	return cdx.Component{
		Type: kind, BOMRef: url, Name: name, Version: version, PackageURL: url,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: licence}}},
	}
}
