package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json/v2"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kms-enclave/kms-enclave/audit"
)

// exportedLog returns the file of a log with three entries, and its key.
func exportedLog(t *testing.T) (file, key string) {
	t.Helper()
	return exportedLogOf(t, "vault.create", "keys.create", "jwt.sign")
}

func exportedLogOf(t *testing.T, methods ...string) (file, key string) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	key, err := audit.VerifierKey(public)
	if err != nil {
		t.Fatal(err)
	}
	var frontier audit.Frontier
	var entries [][]byte
	for seq, method := range methods {
		entry, err := audit.Entry{Seq: uint64(seq), Time: 1795500000, Method: method, Outcome: "ok"}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		frontier.Append(audit.LeafHash(entry))
		entries = append(entries, entry)
	}
	signer, err := audit.NewSigner(public, func(m []byte) ([]byte, error) { return ed25519.Sign(private, m), nil })
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := audit.SignCheckpoint(signer, frontier.Size(), frontier.Root())
	if err != nil {
		t.Fatal(err)
	}
	text, err := audit.AppendHeader(nil, key, checkpoint)
	if err == nil {
		text, err = audit.AppendEntries(text, entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text), key
}

// auditOutcome is what one run of the command does.
type auditOutcome struct {
	code           int
	stdout, stderr string
}

func audited(stdin string, args ...string) auditOutcome {
	var stdout, stderr bytes.Buffer
	code := runAudit(args, strings.NewReader(stdin), &stdout, &stderr)
	return auditOutcome{code, stdout.String(), stderr.String()}
}

func TestAuditVerify(t *testing.T) {
	file, key := exportedLog(t)
	path := filepath.Join(t.TempDir(), "log.txt")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "verified: 3 entries, from 2026-11-24T06:00:00Z to 2026-11-24T06:00:00Z\n"
	for _, args := range [][]string{{"verify", path}, {"verify", "-"}, {"verify", "--key", key, path}, {"verify", path, "--key=" + key}, {"--key", key, "verify", "--", path}} {
		got := audited(file, args...)
		if got.code != 0 || !strings.HasPrefix(got.stdout, want) || got.stderr != "" {
			t.Errorf("%v: %+v", args, got)
		}
		if strings.Contains(got.stdout, "the key is the one in the file") == strings.Contains(strings.Join(args, " "), "--key") {
			t.Errorf("%v: the note about the key: %s", args, got.stdout)
		}
	}
}

func TestAuditUnverified(t *testing.T) {
	file, _ := exportedLog(t)
	lines := strings.SplitAfter(file, "\n")
	without := func(i int) string { return strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "") }
	tests := map[string]struct {
		stdin, says string
		args        []string
	}{
		"edited":    {strings.Replace(file, "keys.create", "keys.delete", 1), "entry 1: does not have the hash", nil},
		"deleted":   {without(9), "entry 1: wrong sequence number: got 2", nil},
		"cut":       {without(10), "entry 2: missing", nil},
		"not ours":  {"hello\n", "not an audit file", nil},
		"empty":     {"", "not an audit file", nil},
		"newer":     {strings.Replace(file, "/v1", "/v2", 1), "version 2, at most 1 is known", nil},
		"signature": {strings.Replace(file, "\n3\n", "\n2\n", 1), "signature", nil},
		"other key": {file, "another log", []string{"--key", otherKey(t)}},
	}
	for name, test := range tests {
		got := audited(test.stdin, append(test.args, "verify", "-")...)
		if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, test.says) {
			t.Errorf("%s: %+v; %q wanted", name, got, test.says)
		}
		if !strings.HasPrefix(got.stderr, `enclave: error: "-" is not verified: `) || !strings.Contains(got.stderr, "\nenclave: hint: ") {
			t.Errorf("%s: wording: %s", name, got.stderr)
		}
	}
}

func otherKey(t *testing.T) string {
	t.Helper()
	seed := bytes.Repeat([]byte{1}, ed25519.SeedSize)
	key, err := audit.VerifierKey(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestAuditBadKey: a key that is none was typed wrongly; the log is not to blame.
func TestAuditBadKey(t *testing.T) {
	file, key := exportedLog(t)
	for _, bad := range []string{"x", key[:len(key)-1], strings.ReplaceAll(key, "A", "B")} {
		if got := audited(file, "verify", "--key", bad, "-"); got.code != 2 || !strings.Contains(got.stderr, "--key: got") {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestAuditHeads(t *testing.T) {
	file, _ := exportedLog(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines := strings.SplitAfter(file, "\n")
	checkpoint := strings.Join(lines[2:7], "")
	head := strings.TrimSpace(lines[3]) + ":" + strings.TrimSpace(lines[4])
	signed := write("head", checkpoint)
	other := "2:" + strings.TrimSpace(lines[4])
	for _, test := range []struct {
		says string
		code int
		args []string
	}{
		{"note:     nothing shows whether entries were taken back", 0, nil},
		{"heads:    1 kept", 0, []string{"--head", head}},
		{"heads:    2 kept", 0, []string{"--head", head, "--head", signed}},
		{"kept head of 2 entries: the log had other entries then", 1, []string{"--head", signed, "--head", other}},
		{"kept head of 4 entries: the log has fewer entries now", 1, []string{"--head", "4" + head[1:]}},
		{"kept head of 3 entries: it was not signed by the key of this log", 1, []string{"--head", write("forged", strings.Replace(checkpoint, lines[4], "A"+lines[4][1:], 1))}},
		{"not a head", 2, []string{"--head", write("nonsense", "hello\n")}},
		{"no such file", 3, []string{"--head", filepath.Join(dir, "none")}},
		{"no such file", 3, []string{"--head", "0:" + head[2:]}},
	} {
		got := audited(file, append(test.args, "verify", "-")...)
		if got.code != test.code || !strings.Contains(got.stdout+got.stderr, test.says) || strings.Contains(got.stderr, "error") != strings.Contains(got.stderr, "hint") {
			t.Errorf("%v: %+v; %d and %q wanted", test.args, got, test.code, test.says)
		}
	}
	if got := audited(file, "verify", "--json", "--head", signed, "-"); got.code != 0 || !strings.Contains(got.stdout, `"heads":1`) {
		t.Errorf("%+v", got)
	}
}

// TestAuditEarlier: a file that was exported earlier is verified, and proves that its
// entries are the first ones of the log.
func TestAuditEarlier(t *testing.T) {
	dir := t.TempDir()
	save := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, _ := exportedLog(t)
	begun, _ := exportedLogOf(t, "vault.create", "keys.create")
	other, _ := exportedLogOf(t, "vault.create", "keys.revoke")
	longer, _ := exportedLogOf(t, "vault.create", "keys.create", "jwt.sign", "jwt.sign")
	earlier, forked, later := save("earlier", begun), save("forked", other), save("later", longer)
	edited := save("edited", strings.Replace(begun, "keys.create", "keys.revoke", 1))
	for _, test := range []struct {
		name, want string
		code       int
		args       []string
	}{
		{"one", "earlier:  1 verified, and continued by this one", auditVerified, []string{"--earlier", earlier}},
		{"itself and one", "earlier:  2 verified", auditVerified, []string{"--earlier", earlier, "--earlier", save("same", file)}},
		{"another past", "the log had other entries then", auditUnverified, []string{"--earlier", earlier, "--earlier", forked}},
		{"a longer one", "the log has fewer entries now", auditUnverified, []string{"--earlier", later}},
		{"an edited one", `edited" is not verified: entry 1`, auditUnverified, []string{"--earlier", edited}},
		{"none", "nothing shows whether entries were taken back", auditVerified, nil},
		{"no file", "no such file", auditUnreadable, []string{"--earlier", filepath.Join(dir, "missing")}},
		{"standard input", "takes the path of a file", auditMisused, []string{"--earlier", "-"}},
		{"no log", "not an audit file", auditUnverified, []string{"--earlier", save("text", "hello\n")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := audited(file, append([]string{"verify", "-"}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.stdout+got.stderr, test.want) {
				t.Errorf("code %d, %d wanted, with %q:\n%s%s", got.code, test.code, test.want, got.stdout, got.stderr)
			}
		})
	}
}

func TestAuditJSON(t *testing.T) {
	file, key := exportedLog(t)
	got := audited(file, "verify", "--json", "-")
	var out auditJSON
	if err := json.Unmarshal([]byte(got.stdout), &out, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if got.code != 0 || !out.Verified || out.Checked != 3 || out.Size != 3 || out.Key != key || out.FirstBad != nil || out.Reason != "" {
		t.Errorf("%+v", got)
	}
	got = audited(strings.Replace(file, "vault.create", "vault.delete", 1), "verify", "--json", "-")
	out = auditJSON{}
	if err := json.Unmarshal([]byte(got.stdout), &out, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if got.code != 1 || out.Verified || out.FirstBad == nil || *out.FirstBad != 0 || !strings.Contains(out.Reason, "entry 0") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAuditUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"verify"}, {"verify", "a", "b"}, {"check", "a"}, {"verify", "--surprise", "a"}, {"verify", "a", "--key"}} {
		got := audited("", args...)
		if got.code != 2 || got.stdout != "" || !strings.Contains(got.stderr, "enclave: hint: ") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, args := range [][]string{{"--help"}, {"verify", "-h"}, {"verify", "a", "--help"}} {
		if got := audited("", args...); got.code != 0 || got.stdout != auditUsage || got.stderr != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestAuditUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none"), "\x1b[31m\n"} {
		got := audited("", "verify", path)
		if got.code != 3 || got.stdout != "" || !strings.HasPrefix(got.stderr, "enclave: error: ") {
			t.Errorf("%q: %+v", path, got)
		}
		if strings.Contains(got.stderr, "\x1b") || strings.Count(got.stderr, "\n") != 2 {
			t.Errorf("%q: printed unescaped: %q", path, got.stderr)
		}
	}
	file, _ := exportedLog(t)
	var stdout, stderr bytes.Buffer
	gone := errors.New("the pipe broke")
	broken := iotest.DataErrReader(&cutReader{strings.NewReader(file[:len(file)-40]), gone})
	if code := runAudit([]string{"verify", "-"}, broken, &stdout, &stderr); code != 3 || !strings.Contains(stderr.String(), gone.Error()) {
		t.Errorf("%d: %s", code, stderr.String())
	}
}

// cutReader fails where the text ends.
type cutReader struct {
	r   *strings.Reader
	err error
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.r.Len() == 0 {
		return 0, c.err
	}
	return c.r.Read(b)
}

// Whatever is in a file, no byte of it reaches the terminal unescaped.
func TestAuditTerminal(t *testing.T) {
	file, _ := exportedLog(t)
	const escape = "\x1b]0;pwned\x07"
	lines := strings.SplitAfter(file, "\n")
	for i := range lines {
		spoiled := strings.Join(lines[:i], "") + escape + strings.Join(lines[i:], "")
		for _, args := range [][]string{{"verify", "-"}, {"verify", "--json", "-"}} {
			got := audited(spoiled, args...)
			if got.code != 1 || strings.ContainsAny(got.stdout+got.stderr, "\x1b\x07") {
				t.Errorf("line %d: %d, %+q, %+q", i, got.code, got.stdout, got.stderr)
			}
		}
	}
}
