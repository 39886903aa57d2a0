package release

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/sourcetest"
)

// TestReproducible builds the release twice, with nothing in common but the
// source's text and the toolchain: in two directories, one with spaces, from two
// module caches and two build caches; one of them without a network, git, make
// or anything else on its PATH but the go command. The trees are identical.
func TestReproducible(t *testing.T) {
	here, other := goEnv(t, "GOMODCACHE"), filepath.Join(t.TempDir(), "modules")
	t.Cleanup(func() { makeWritable(other) })
	commit := strings.Repeat("c", 40)

	first := buildTree(t, filepath.Join(t.TempDir(), "a"), commit)

	t.Setenv("GOMODCACHE", other)
	t.Setenv("GOPROXY", "file://"+filepath.ToSlash(filepath.Join(here, "cache", "download")))
	t.Setenv("GOSUMDB", "off") // go.sum says what the modules must be
	t.Setenv("GOCACHE", filepath.Join(t.TempDir(), "build cache"))
	t.Setenv("PATH", onlyGo(t))
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	second := buildTree(t, filepath.Join(t.TempDir(), "another directory"), commit)

	if len(first) < 8 {
		t.Errorf("%d files, wanted those of a release", len(first))
	}
	if !equalTrees(first, second) {
		for name := range first {
			t.Logf("%-90s %v", name, first[name] == second[name])
		}
		t.Error("the two builds differ")
	}
}

// TestEqualTrees: a comparison of nothing fails, and so does every difference.
func TestEqualTrees(t *testing.T) {
	whole := map[string]string{"a": "1", "b": "2"}
	if !equalTrees(whole, map[string]string{"b": "2", "a": "1"}) {
		t.Error("equal trees: different")
	}
	for name, other := range map[string]map[string]string{
		"missing": nil, "empty": {}, "a file less": {"a": "1"}, "a file more": {"a": "1", "b": "2", "c": "3"}, "another name": {"a": "1", "c": "2"}, "another byte": {"a": "1", "b": "3"},
	} {
		if equalTrees(whole, other) || equalTrees(other, whole) {
			t.Errorf("%s: equal", name)
		}
	}
	if equalTrees(nil, nil) || equalTrees(map[string]string{}, map[string]string{}) || equalTrees(map[string]string{"a": ""}, map[string]string{"a": ""}) {
		t.Error("nothing equals nothing")
	}
}

// buildTree copies the checkout to a directory, builds it there, and returns
// what was written.
func buildTree(t *testing.T, dir, commit string) map[string]string {
	t.Helper()
	sourcetest.Copy(t, "..", dir)
	r, err := Build(t.Context(), Options{Source: dir, Version: "1.2.3", Commit: commit})
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Deploy(Deployment{FrameAncestors: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "dist")
	if err := Write(out, d, nil); err != nil {
		t.Fatal(err)
	}
	return tree(t, out)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		t.Fatalf("go env %s: %q, %v", name, out, err)
	}
	return strings.TrimSpace(string(out))
}

// onlyGo returns a directory with the go command and no other program. The
// toolchain itself lies elsewhere, and is found through the command.
func onlyGo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(goEnv(t, "GOROOT"), "bin", "go"), filepath.Join(dir, "go")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeWritable lets a module cache, which the go command makes read-only, be removed.
func makeWritable(dir string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
}
