package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// exampleLog makes the log of the package comment.
func exampleLog(t *testing.T) *testLog {
	l := &testLog{private: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	const origin = "https://app.example"
	kid := "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	l.append(t, Entry{Time: 1795500000, Method: "vault.create", Origin: origin, Outcome: "ok"})
	l.append(t, Entry{Time: 1795500003, Method: "keys.create", KID: kid, Origin: origin, Outcome: "ok", Details: map[string]string{"purpose": "signing", "alg": "EdDSA"}})
	l.append(t, Entry{Time: 1795500003, Method: "jwt.sign", Origin: origin, Outcome: "quota_exceeded", Details: map[string]string{"count": "2"}})
	return l
}

// The example in the package comment is what the code writes, byte for byte.
func TestWorkedExample(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	l := exampleLog(t)
	file := string(l.file(t))
	if _, err := VerifyFile(strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	wantInComment(t, source, file)
	wantInComment(t, source, hex.EncodeToString(l.frontier.AppendBinary(nil)))
	wantInComment(t, source, hex.EncodeToString(EncodeBatch(l.entries)[:30])+"…")
}

// wantInComment looks for lines of a code block, one after the other.
func wantInComment(t *testing.T, source []byte, text string) {
	t.Helper()
	var block strings.Builder
	for line := range strings.Lines(strings.TrimSuffix(text, "\n")) {
		block.WriteString(strings.TrimRight("//\t"+line, "\t"))
	}
	// gofmt writes an empty line of a code block without the tab.
	want := strings.ReplaceAll(block.String(), "//\t\n", "//\n")
	if !bytes.Contains(source, []byte(want)) {
		t.Errorf("the package comment does not contain\n%s", want)
	}
}
