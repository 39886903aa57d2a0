package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// RFC 8037 appendix A.3: the thumbprint of the key of appendix A.2.
func TestLogName(t *testing.T) {
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	name, err := LogName(public)
	if want := "kms-enclave/audit/kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; err != nil || name != want {
		t.Errorf("%s, %v; %s wanted", name, err, want)
	}
	if name, err := LogName(public[1:]); err == nil {
		t.Errorf("31 bytes: %s", name)
	}
}

func TestCheckpoint(t *testing.T) {
	l := newLog(t, 5)
	got, err := OpenCheckpoint(l.checkpoint(t), l.key(t))
	if err != nil {
		t.Fatal(err)
	}
	name, _ := LogName(l.private.Public().(ed25519.PublicKey))
	if want := (Checkpoint{name, 5, l.frontier.Root()}); got != want {
		t.Errorf("%+v, %+v wanted", got, want)
	}
}

// A witness's line below the log's own is no trouble, and no help.
func TestCheckpointCosigned(t *testing.T) {
	l := newLog(t, 5)
	witness, _, err := note.GenerateKey(nil, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(witness)
	if err != nil {
		t.Fatal(err)
	}
	text, own, _ := strings.Cut(l.checkpoint(t), "\n\n")
	cosigned, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCheckpoint(string(cosigned), l.key(t)); !errors.Is(err, ErrSignature) {
		t.Errorf("without the log's signature: %v", err)
	}
	if _, err := OpenCheckpoint(string(cosigned)+own, l.key(t)); err != nil {
		t.Errorf("with both: %v", err)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	l := newLog(t, 5)
	good, key := l.checkpoint(t), l.key(t)
	other, _, _ := ed25519.GenerateKey(nil)
	otherKey, _ := VerifierKey(other)
	resigned := func(text string) string {
		signer, _ := NewSigner(l.private.Public().(ed25519.PublicKey), func(m []byte) ([]byte, error) { return ed25519.Sign(l.private, m), nil })
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	text, _, _ := strings.Cut(good, "\n\n")
	lines := strings.Split(text, "\n")
	tests := map[string]struct {
		signed, key string
		want        error
	}{
		"another key":         {good, otherKey, ErrSignature},
		"another size":        {strings.Replace(good, "\n5\n", "\n4\n", 1), key, ErrSignature},
		"no signature":        {text + "\n\n", key, ErrSignature},
		"no blank line":       {strings.Replace(good, "\n\n", "\n", 1), key, ErrCheckpoint},
		"empty":               {"", key, ErrCheckpoint},
		"cut":                 {good[:len(good)-1], key, ErrSignature},
		"leading zero":        {resigned(lines[0] + "\n05\n" + lines[2] + "\n"), key, ErrCheckpoint},
		"negative":            {resigned(lines[0] + "\n-5\n" + lines[2] + "\n"), key, ErrCheckpoint},
		"too large":           {resigned(lines[0] + "\n9007199254740992\n" + lines[2] + "\n"), key, ErrCheckpoint},
		"short root":          {resigned(lines[0] + "\n5\nAAAA\n"), key, ErrCheckpoint},
		"an extension line":   {resigned(text + "\nmore\n"), key, ErrCheckpoint},
		"another log's name":  {resigned(OriginPrefix + "x\n5\n" + lines[2] + "\n"), key, ErrCheckpoint},
		"another log's kind":  {resigned("go.sum database tree\n5\n" + lines[2] + "\n"), key, ErrCheckpoint},
		"not a key":           {good, "x", ErrKey},
		"key without its end": {good, key[:len(key)-1], ErrKey},
		"key with more":       {good, key + "\n", ErrKey},
		"key of other name":   {good, "x" + key, ErrKey},
		"upper-case key hash": {good, strings.Replace(key, "+", "+A", 1), ErrKey},
	}
	for name, test := range tests {
		if _, err := OpenCheckpoint(test.signed, test.key); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, %v wanted", name, err, test.want)
		}
	}
}

func TestSignerRefuses(t *testing.T) {
	public := make([]byte, ed25519.PublicKeySize)
	gone := errors.New("the key is gone")
	for _, test := range []struct {
		signature []byte
		err       error
	}{{nil, gone}, {make([]byte, 63), nil}, {nil, nil}} {
		signer, err := NewSigner(public, func([]byte) ([]byte, error) { return test.signature, test.err })
		if err != nil {
			t.Fatal(err)
		}
		if signed, err := SignCheckpoint(signer, 1, [32]byte{}); err == nil || (test.err != nil && !errors.Is(err, test.err)) {
			t.Errorf("%q, %v", signed, err)
		}
	}
	if _, err := NewSigner(public[1:], nil); err == nil {
		t.Error("31 bytes of key: accepted")
	}
}

func FuzzCheckpoint(f *testing.F) {
	l := newLog(f, 3)
	f.Add(l.checkpoint(f))
	f.Add("kms-enclave/audit/x\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n")
	f.Fuzz(func(t *testing.T, signed string) {
		c, err := parseSigned(signed)
		if err == nil && !strings.HasPrefix(signed, formatCheckpoint(c)+"\n") {
			t.Errorf("%q is not what it encodes as", signed)
		}
	})
}

func FuzzVerifierKey(f *testing.F) {
	f.Add(newLog(f, 0).key(f))
	f.Add("kms-enclave/audit/x+00000000+AQ==")
	f.Fuzz(func(t *testing.T, key string) {
		if _, err := parseVerifierKey(key); err != nil {
			return
		}
		if _, err := note.NewVerifier(key); err != nil {
			t.Errorf("%q: package note refuses it: %v", key, err)
		}
	})
}
