package release

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"os"
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
	r, err := assemble(fakeParts(s, module))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fakeParts(s sources, module string) parts {
	return parts{
		sources: s, module: []byte(module), sbom: []byte("{}\n"), sdk: []FileInfo{describe("kms.js", []byte("export {};\n"))},
		version: "1.2.3", commit: strings.Repeat("a", 40),
	}
}

// TestMeasurementCoversEverything follows the chain by hand: page → loader →
// module, every file named by its own hash.
func TestMeasurementCoversEverything(t *testing.T) {
	r := fake(t, "module")
	files := r.Contents()
	if len(files) != 4 {
		t.Fatalf("%d files, 4 wanted", len(files))
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
	if loader.Name != r.Measurement[:32]+".js" || r.Path != "/r/"+r.Measurement[:32]+"/" || r.Page() != r.Path+"kms.html" {
		t.Errorf("names %s %s %s do not carry the measurement", loader.Name, r.Path, r.Page())
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
	original, err := assemble(fakeParts(s, "m"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{original.Measurement: "original"}
	for name, change := range map[string]func(*parts){
		"loader":       func(p *parts) { p.loader += "\n" },
		"screens":      func(p *parts) { p.screens += "\n" },
		"words":        func(p *parts) { p.words = words{"en": {"a.b": {"": "c"}}} },
		"worker":       func(p *parts) { p.worker += "\n" },
		"wasm_exec.js": func(p *parts) { p.wasmExec += "\n" },
		"module":       func(p *parts) { p.module = []byte("n") },
		"version":      func(p *parts) { p.version = "1.2.4" },
		"commit":       func(p *parts) { p.commit = "unknown" },
	} {
		p := fakeParts(s, "m")
		change(&p)
		changed, err := assemble(p)
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
		p := fakeParts(s, test.module)
		p.version, p.commit = test.version, test.commit
		if _, err := assemble(p); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestSourcesAreASCII: the build fails when a source holds a byte that another
// charset reads differently, and names file and line.
func TestSourcesAreASCII(t *testing.T) {
	names := []string{"kms.html", "loader.js", "worker.js"}
	for _, name := range screenFiles {
		names = append(names, "screens/"+name)
	}
	for _, name := range names {
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
	if err := checkText("x", []byte("a\tb\n ~")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"\x1b", "\r", "\x00", "\x7f", "\x80", "é", "\ufeff", "a\nb\nc\x1b"} {
		err := checkText("x", []byte(bad))
		if err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
	if err := checkText("x", []byte("a\nb\nc\x1b")); !strings.HasPrefix(err.Error(), "x:3:") {
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
	module := r.Contents()[2].Content
	if !bytes.HasPrefix(module, []byte("\x00asm\x01\x00\x00\x00")) || len(module) < 1<<20 {
		t.Errorf("module of %d bytes begins with %x", len(module), module[:8])
	}
	for _, path := range []string{"/root", "/home", t.TempDir()} {
		if bytes.Contains(module, []byte(path+"/")) {
			t.Errorf("the module names a directory of this machine: %s", path)
		}
	}
	if !bytes.Contains(r.Contents()[1].Content, []byte("globalThis.Go = class")) {
		t.Error("the loader lacks wasm_exec.js")
	}
	if _, err := Build(t.Context(), Options{Source: t.TempDir()}); err == nil {
		t.Error("an empty directory: built")
	}
}
