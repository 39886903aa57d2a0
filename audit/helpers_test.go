package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"iter"
	"testing"
)

// testLog is a log with its key, small enough to be built anew by every test.
type testLog struct {
	private  ed25519.PrivateKey
	entries  [][]byte
	frontier Frontier
}

func newLog(t testing.TB, size int) *testLog {
	t.Helper()
	seed := sha256.Sum256([]byte("audit test key"))
	l := &testLog{private: ed25519.NewKeyFromSeed(seed[:])}
	for i := range size {
		l.append(t, Entry{
			Time: 1800000000 + int64(i/3), Method: "jwt.sign", KID: fmt.Sprintf("kid-%d", i%5), Origin: "https://app.example",
			Outcome: "ok", Details: map[string]string{"audience": "https://api.example"},
		})
	}
	return l
}

func (l *testLog) append(t testing.TB, e Entry) {
	t.Helper()
	e.Seq = l.frontier.Size()
	encoded, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	l.frontier.Append(LeafHash(encoded))
	l.entries = append(l.entries, encoded)
}

func (l *testLog) key(t testing.TB) string {
	t.Helper()
	key, err := VerifierKey(l.private.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (l *testLog) checkpoint(t testing.TB) string {
	t.Helper()
	signer, err := NewSigner(l.private.Public().(ed25519.PublicKey), func(message []byte) ([]byte, error) {
		return ed25519.Sign(l.private, message), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := SignCheckpoint(signer, l.frontier.Size(), l.frontier.Root())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// file exports the log in pages.
func (l *testLog) file(t testing.TB) []byte {
	t.Helper()
	text, err := AppendHeader(nil, l.key(t), l.checkpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < len(l.entries); from += 7 {
		if text, err = AppendEntries(text, l.entries[from:min(from+7, len(l.entries))]); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func all(entries [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}
