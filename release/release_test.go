package release

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a release of the real sources of web/ around a module that is none,
// so that tests need no compiler.
func fake(t testing.TB, module string) *Release {
	t.Helper()
	s, err := readSources(os.DirFS("../web"), []byte("// wasm_exec.js"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := assemble(s, []byte(module), "1.2.3", strings.Repeat("a", 40))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMeasurementCoversEverything follows the chain by hand: page → loader →
// module, every file named by its own hash.
func TestMeasurementCoversEverything(t *testing.T) {
	r := fake(t, "module")
	files := r.Files()
	if len(files) != 3 {
		t.Fatalf("%d files, 3 wanted", len(files))
	}
	page, loader, module := files[0], files[1], files[2]
	sum := sha512.Sum384(loader.Content)
	if got := hex.EncodeToString(sum[:]); r.Measurement != got {
		t.Errorf("measurement %s, SHA-384 of the loader is %s", r.Measurement, got)
	}
	sri := "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
	if !strings.Contains(string(page.Content), `src="`+loader.Name+`" integrity="`+sri+`"`) {
		t.Errorf("the page does not name its loader:\n%s", page.Content)
	}
	if strings.Count(string(page.Content), "<script") != 1 {
		t.Errorf("the page has not exactly one script:\n%s", page.Content)
	}
	if !strings.Contains(r.Policy, "script-src '"+sri+"' ") {
		t.Errorf("policy %q does not contain %s", r.Policy, sri)
	}
	if loader.Name != r.Measurement[:32]+".js" || r.Dir() != "/r/"+r.Measurement[:32]+"/" || r.Page() != r.Dir()+"kms.html" {
		t.Errorf("names %s %s %s do not carry the measurement", loader.Name, r.Dir(), r.Page())
	}
	wasm := sha512.Sum384(module.Content)
	if r.Wasm != "sha384-"+base64.StdEncoding.EncodeToString(wasm[:]) || module.Name != hex.EncodeToString(wasm[:16])+".wasm" {
		t.Errorf("wasm %s in %s is not the module's hash", r.Wasm, module.Name)
	}
	if !bytes.Contains(loader.Content, []byte(`"`+r.Wasm+`"`)) {
		t.Error("the loader does not carry the module's hash")
	}
}

// TestEveryPartIsMeasured: whatever changes, the measurement does too.
func TestEveryPartIsMeasured(t *testing.T) {
	s, err := readSources(os.DirFS("../web"), []byte("// wasm_exec.js"))
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.Repeat("a", 40)
	original, err := assemble(s, []byte("m"), "1.2.3", commit)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{original.Measurement: "original"}
	for name, change := range map[string]func() (*Release, error){
		"loader":       func() (*Release, error) { c := s; c.loader += "\n"; return assemble(c, []byte("m"), "1.2.3", commit) },
		"screens":      func() (*Release, error) { c := s; c.screens += "\n"; return assemble(c, []byte("m"), "1.2.3", commit) },
		"worker":       func() (*Release, error) { c := s; c.worker += "\n"; return assemble(c, []byte("m"), "1.2.3", commit) },
		"wasm_exec.js": func() (*Release, error) { c := s; c.wasmExec += "\n"; return assemble(c, []byte("m"), "1.2.3", commit) },
		"module":       func() (*Release, error) { return assemble(s, []byte("n"), "1.2.3", commit) },
		"version":      func() (*Release, error) { return assemble(s, []byte("m"), "1.2.4", commit) },
		"commit":       func() (*Release, error) { return assemble(s, []byte("m"), "1.2.3", "unknown") },
	} {
		changed, err := change()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if other, found := seen[changed.Measurement]; found {
			t.Errorf("%s: the same measurement as %s", name, other)
		}
		seen[changed.Measurement] = name
	}
}

func TestAssembleRefuses(t *testing.T) {
	s, err := readSources(os.DirFS("../web"), []byte("// wasm_exec.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ module, version, commit, want string }{
		{"", "1.2.3", "unknown", "module"},
		{"m", "", "unknown", "version"},
		{"m", "1.2.3\n", "unknown", "version"},
		{"m", "1.2 3", "unknown", "version"},
		{"m", "*/alert(1)", "unknown", "version"},
		{"m", "1.2.3", "HEAD", "commit"},
		{"m", "1.2.3", strings.Repeat("A", 40), "commit"},
		{"m", "1.2.3", "", "commit"},
	} {
		if _, err := assemble(s, []byte(test.module), test.version, test.commit); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestSourcesAreASCII: the build fails when a source holds a byte that another
// charset reads differently, and names file and line.
func TestSourcesAreASCII(t *testing.T) {
	for _, name := range []string{"kms.html", "loader.js", "screens.js", "worker.js"} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("../web")); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, "// caf\xc3\xa9\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readSources(os.DirFS(dir), nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readSources(os.DirFS("../web"), []byte("\x1b$B")); err == nil {
		t.Error("ESC in wasm_exec.js: accepted")
	}
	if _, err := readSources(os.DirFS(t.TempDir()), nil); err == nil {
		t.Error("no sources: accepted")
	}
}

func TestCheckText(t *testing.T) {
	if err := CheckText("x", []byte("a\tb\n ~")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"\x1b", "\r", "\x00", "\x7f", "\x80", "é", "\ufeff", "a\nb\nc\x1b"} {
		err := CheckText("x", []byte(bad))
		if err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
	if err := CheckText("x", []byte("a\nb\nc\x1b")); !strings.HasPrefix(err.Error(), "x:3:") {
		t.Errorf("line not named: %v", err)
	}
}

func TestPolicy(t *testing.T) {
	r := fake(t, "m")
	loader, err := ParsePolicy(r.Policy)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Policy(loader); err != nil || again != r.Policy {
		t.Errorf("%q %v", again, err)
	}
	want := "default-src 'none'; script-src '" + loader + "' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
	if r.Policy != want {
		t.Errorf("policy %q, %q wanted", r.Policy, want)
	}
	for name, bad := range map[string]string{
		"empty": "", "line break": r.Policy + "\n", "comma": strings.Replace(r.Policy, ";", ",", 1), "report-uri": r.Policy + "; report-uri /x",
		"second hash": strings.Replace(r.Policy, "' 'wasm", "' '"+loader+"' 'wasm", 1), "worker-src 'self'": strings.Replace(r.Policy, "blob:", "'self'", 1),
		"upper case": strings.ToUpper(r.Policy), "double space": strings.Replace(r.Policy, "; ", ";  ", 1), "truncated": r.Policy[:len(r.Policy)-1],
		"another hash": strings.Replace(r.Policy, "sha384-", "sha256-", 1), "not base64": strings.Replace(r.Policy, loader, "sha384-"+strings.Repeat("!", 64), 1),
	} {
		if _, err := ParsePolicy(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Policy("sha384-x' *"); err == nil {
		t.Error("a hash that is none: accepted")
	}
}

func FuzzParsePolicy(f *testing.F) {
	good, err := Policy("sha384-" + strings.Repeat("A", 64))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good + ";")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		loader, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if again, err := Policy(loader); err != nil || again != text {
			t.Errorf("%q is accepted and encodes as %q (%v)", text, again, err)
		}
	})
}

// TestManifest: canonical, and every hash and size is that of the file.
func TestManifest(t *testing.T) {
	r := fake(t, "m")
	m, err := r.Manifest(Deployment{FrameAncestors: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var back Manifest
	if err := json.Unmarshal(text, &back, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if again, err := back.Encode(); err != nil || !bytes.Equal(again, text) {
		t.Errorf("not canonical: %v\n%s\n%s", err, text, again)
	}
	if len(back.Release.Files) != 3 || len(back.Deployment.Headers) != 3 {
		t.Fatalf("%d files, %d headers", len(back.Release.Files), len(back.Deployment.Headers))
	}
	for i, f := range r.Files() {
		sum := sha512.Sum384(f.Content)
		want := FileManifest{Name: f.Name, SHA384: "sha384-" + base64.StdEncoding.EncodeToString(sum[:]), Size: len(f.Content)}
		if back.Release.Files[i] != want {
			t.Errorf("%+v, %+v wanted", back.Release.Files[i], want)
		}
		if len(back.Deployment.Headers[f.Name]) == 0 {
			t.Errorf("%s: no headers", f.Name)
		}
	}
	if _, err := r.Manifest(Deployment{FrameAncestors: []string{"*"}}); err == nil {
		t.Error("anybody may embed: accepted")
	}
}

// TestWrite: what lies in the directory is the release, other releases stay.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dist")
	first, second := fake(t, "first"), fake(t, "second")
	for _, r := range []*Release{first, second} {
		if err := r.Write(dir, Deployment{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*Release{first, second} {
		for _, f := range r.Files() {
			got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path.Join(r.Dir(), f.Name))))
			if err != nil || !bytes.Equal(got, f.Content) {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || !bytes.Contains(text, []byte(second.Measurement)) {
		t.Errorf("manifest: %v", err)
	}
}

// TestBuild builds the real thing, once: the module is a WebAssembly module,
// and the loader starts it with the pinned toolchain's own wasm_exec.js.
func TestBuild(t *testing.T) {
	var steps []string
	r, err := Build(t.Context(), Options{Source: "..", Progress: func(step string) { steps = append(steps, step) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != "dev" || r.Toolchain != Toolchain || len(steps) < 3 {
		t.Errorf("version %s, toolchain %s, steps %q", r.Version, r.Toolchain, steps)
	}
	module := r.Files()[2].Content
	if !bytes.HasPrefix(module, []byte("\x00asm\x01\x00\x00\x00")) || len(module) < 1<<20 {
		t.Errorf("module of %d bytes begins with %x", len(module), module[:8])
	}
	for _, path := range []string{"/root", "/home", t.TempDir()} {
		if bytes.Contains(module, []byte(path+"/")) {
			t.Errorf("the module names a directory of this machine: %s", path)
		}
	}
	if !bytes.Contains(r.Files()[1].Content, []byte("globalThis.Go = class")) {
		t.Error("the loader lacks wasm_exec.js")
	}
	if _, err := Build(t.Context(), Options{Source: t.TempDir()}); err == nil {
		t.Error("an empty directory: built")
	}
}
