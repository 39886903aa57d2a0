package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/internal/sourcetest"
)

// TestSourceIsTheCheckout: a release names a commit only if what is built is
// that commit, and nothing from outside gets in.
func TestSourceIsTheCheckout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "source")
	sourcetest.Copy(t, "..", dir)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@localhost", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@localhost")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known := func() bool { return HeadCommit(t.Context(), dir) != "unknown" }
	if known() {
		t.Error("no repository: a commit")
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-q", "-m", "x")
	if !known() {
		t.Fatal("a clean checkout: no commit")
	}
	if HeadCommit(t.Context(), filepath.Join(dir, "web")) != "unknown" {
		t.Error("a directory inside a repository: its commit")
	}

	worker, err := os.ReadFile(filepath.Join(dir, "web", "worker.js"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ spoil, mend func() }{
		"changed": {func() { write("web/worker.js", string(worker)+"// x\n") }, func() { write("web/worker.js", string(worker)) }},
		"added":   {func() { write("cmd/enclave-wasm/evil.go", "package main\n") }, func() { os.Remove(filepath.Join(dir, "cmd/enclave-wasm/evil.go")) }},
		"excluded": {
			func() { write(".git/info/exclude", "evil.go\n"); write("cmd/enclave-wasm/evil.go", "package main\n") },
			func() { write(".git/info/exclude", ""); os.Remove(filepath.Join(dir, "cmd/enclave-wasm/evil.go")) },
		},
		"untracked files are not shown": {
			func() {
				git("config", "status.showUntrackedFiles", "no")
				write("cmd/enclave-wasm/evil.go", "package main\n")
			},
			func() {
				git("config", "--unset", "status.showUntrackedFiles")
				os.Remove(filepath.Join(dir, "cmd/enclave-wasm/evil.go"))
			},
		},
		"assumed to be unchanged": {
			func() {
				git("update-index", "--assume-unchanged", "web/worker.js")
				write("web/worker.js", string(worker)+"// x\n")
			},
			func() {
				write("web/worker.js", string(worker))
				git("update-index", "--no-assume-unchanged", "web/worker.js")
			},
		},
	} {
		test.spoil()
		if known() {
			t.Errorf("%s: a commit", name)
		}
		test.mend()
		if !known() {
			t.Fatalf("%s: mended, and no commit", name)
		}
	}
	ran := filepath.Join(t.TempDir(), "ran")
	git("config", "core.fsmonitor", "touch "+ran)
	known()
	if _, err := os.Stat(ran); err == nil {
		t.Error("git ran a command of the checkout")
	}

	// A link out of the checkout is not followed, and a replaced module is noticed.
	outside := filepath.Join(t.TempDir(), "outside.go")
	if err := os.WriteFile(outside, []byte("package main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "cmd", "enclave-wasm", "link.go")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), Options{Source: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a linked source file: %v", err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "web", "worker.js")
	if err := os.Remove(script); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, script); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), Options{Source: dir}); err == nil {
		t.Error("a linked script: built")
	}
}
