package transcripts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestVerifyByHand runs the commands of docs/verify.md as they stand there, one
// block after the other in one shell, against a host that serves this source.
func TestVerifyByHand(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	source, commit := snapshot(t, root)
	dist := filepath.Join(t.TempDir(), "dist")
	build := exec.Command("enclave", "build", "--out", dist, "--frame-ancestors", "https://app.example", "--compress=false", "--commit", commit)
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := freePort(t)
	serveWith(t, nginx(t, program(t, root, "nginx"), dist, port), port)
	url := "http://127.0.0.1:" + strconv.Itoa(port) + strings.Replace(newestOf(t, dist), "//", "/", 1)

	hand := runBlocks(t, "by-hand", source, commit, url)
	lines := strings.Split(hand, "\n")
	for _, want := range []string{"Content-Security-Policy: default-src 'none'", "integrity=\"sha384-"} {
		if !strings.Contains(hand, want) {
			t.Errorf("by hand: %q is missing in\n%s", want, hand)
		}
	}
	same := 0
	for i := 1; i < len(lines); i++ {
		if a, b := lines[i], lines[i-1]; len(b) > 60 && (a == b || strings.HasPrefix(b, a+" ")) {
			same++
		}
	}
	if same < 2 {
		t.Errorf("by hand: %d pairs of lines are the same, 2 wanted:\n%s", same, hand)
	}
	if with := runBlocks(t, "verify", source, commit, url); !strings.Contains(with, "VERIFIED") || !strings.Contains(with, "clean checkout of commit "+commit) {
		t.Errorf("with the command:\n%s", with)
	}
}

// snapshot makes a repository with one commit of what lies in the checkout now.
func snapshot(t *testing.T, root string) (dir, commit string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "source")
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@localhost", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@localhost")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	skip := []string{".git", "node_modules", "bin", "dist", "artifacts"}
	if err := copyTree(root, dir, skip); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	git("add", "-A")
	git("commit", "-q", "-m", "snapshot")
	return dir, git("rev-parse", "HEAD")
}

// runBlocks runs the blocks of docs/verify.md that are marked with a word.
func runBlocks(t *testing.T, mark, source, commit, url string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	script := "set -eu\n"
	blocks := strings.Split(string(text), "```sh "+mark+"\n")[1:]
	for _, block := range blocks {
		script += block[:strings.Index(block, "```")]
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/verify.md has no block %q", mark)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "SOURCE="+source, "COMMIT="+commit, "URL="+url)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", mark, err, out.String())
	}
	return out.String()
}
