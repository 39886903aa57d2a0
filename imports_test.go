package kmsenclave

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kms-enclave/kms-enclave/"

// mayImport lists, for each package inside the browser, which of ours it may
// import. CONTRIBUTING.md shows the same picture.
var mayImport = map[string][]string{
	"api":                     {},
	"audit":                   {},
	"store":                   {},
	"store/memstore":          {"store"},
	"store/indexeddb":         {"store", "internal/jsbridge"},
	"keyengine":               {},
	"keyengine/native":        {"keyengine", "keyengine/internal/form", "keyengine/internal/kat"},
	"keyengine/webcrypto":     {"keyengine", "keyengine/internal/form", "keyengine/internal/kat", "internal/jsbridge"},
	"prompt":                  {},
	"bip39":                   {},
	"passphrase":              {},
	"backup":                  {},
	"lease":                   {},
	"ledger":                  {"audit", "store", "keyengine", "internal/deadline"},
	"vault":                   {"audit", "store", "keyengine", "ledger", "lease", "bip39", "passphrase", "backup"},
	"enclave":                 {"api", "audit", "store", "keyengine", "ledger", "lease", "vault", "prompt", "bip39", "passphrase", "backup", "internal/deadline"},
	"internal/deadline":       {},
	"internal/jsbridge":       {},
	"keyengine/internal/form": {"keyengine"},
	"keyengine/internal/kat":  {"keyengine"},
}

// outside are the packages that must not import the inside wing; audit and api
// are formats and may be read by both.
var outside = []string{"release", "verify", "doctor", "demo", "webpush", "relay", "cmd/enclave"}

var outsideMay = []string{"audit", "release", "verify", "doctor", "demo", "sdk", "store", "web", "webpush", "relay", "internal/jws"}

// mayTouchJS are the only packages that import syscall/js.
var mayTouchJS = []string{"internal/jsbridge", "internal/host", "keyengine/webcrypto", "store/indexeddb", "cmd/enclave-wasm"}

// mayExec are the only packages that start other programs, and they do so
// without a shell (os/exec has none) and with arguments of their own.
var mayExec = []string{"release"}

// foreign are the only packages from other modules inside the browser.
var foreign = []string{"golang.org/x/crypto/argon2", "golang.org/x/mod/sumdb/note", "golang.org/x/mod/sumdb/tlog"}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for file, imports := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(file))
		seen[dir] = true
		for _, path := range imports {
			checkImport(t, file, dir, path)
		}
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("%s: no such package; the list is out of date", dir)
		}
	}
}

// TestImportPicture: CONTRIBUTING.md shows the list that is enforced.
func TestImportPicture(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Who may import whom")
	_, block, _ := strings.Cut(section, "```\n")
	block, _, _ = strings.Cut(block, "```")
	shown := map[string]bool{}
	for line := range strings.Lines(block) {
		dir, list, _ := strings.Cut(strings.TrimSpace(line), " ")
		shown[dir] = true
		want := strings.Join(mayImport[dir], ", ")
		if want == "" {
			want = "nothing"
		}
		if strings.TrimSpace(list) != want {
			t.Errorf("CONTRIBUTING.md lets %s import %s; the list here says %s", dir, strings.TrimSpace(list), want)
		}
	}
	for dir := range mayImport {
		if !shown[dir] {
			t.Errorf("CONTRIBUTING.md does not show %s", dir)
		}
	}
}

func checkImport(t *testing.T, file, dir, path string) {
	ours, isOurs := strings.CutPrefix(path, module)
	allowed, inside := mayImport[dir]
	switch {
	case path == "syscall/js" && !slices.Contains(mayTouchJS, dir):
		t.Errorf("%s: imports syscall/js", file)
	case path == "os/exec" && !slices.Contains(mayExec, dir):
		t.Errorf("%s: starts other programs", file)
	case inside && isOurs && !slices.Contains(allowed, ours):
		t.Errorf("%s: %s may not import %s", file, dir, ours)
	case inside && !isOurs && strings.Contains(path, ".") && !slices.Contains(foreign, path):
		t.Errorf("%s: %s is not a dependency that the enclave may have", file, path)
	case slices.Contains(outside, dir) && isOurs && !slices.Contains(outsideMay, ours):
		t.Errorf("%s: %s is outside the browser and may not import %s", file, dir, ours)
	}
}

// sources maps every Go file of the module that is not a test to its imports.
func sources(t *testing.T) map[string][]string {
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || isModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[path] = []string{}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[path] = append(found[path], name)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d files: %v", len(found), err)
	}
	return found
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
