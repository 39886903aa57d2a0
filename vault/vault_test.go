//go:build !js

package vault

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

// TestThumbprintRFC8037 is the example of RFC 8037 appendix A.3.
func TestThumbprintRFC8037(t *testing.T) {
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := NewJWK(keyengine.EdDSA, public)
	if got, want := jwk.Thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; err != nil || got != want {
		t.Errorf("thumbprint %s, %s wanted (%v)", got, want, err)
	}
}

func TestJWKRefuses(t *testing.T) {
	for _, test := range []struct {
		alg    keyengine.Alg
		public []byte
	}{
		{keyengine.ES256, make([]byte, 65)}, // not an uncompressed point
		{keyengine.ES256, make([]byte, 33)},
		{keyengine.EdDSA, nil},
		{keyengine.X25519, make([]byte, 31)},
		{"none", nil},
	} {
		if jwk, err := NewJWK(test.alg, test.public); err == nil {
			t.Errorf("%s with %d bytes is %+v", test.alg, len(test.public), jwk)
		}
	}
}

// TestID pins the derivation: changing it would make every vault unreachable.
func TestID(t *testing.T) {
	if got, want := ID("https://app.example", "alice"), "hYt1o2qp46v-yy2bja1UnvyJfZSOdvYMA4xDLvYrPH0"; got != want {
		t.Errorf("id %s, %s wanted", got, want)
	}
	if ID("https://app.example", "alice") == ID("https://app.examplea", "lice") {
		t.Error("origin and account run into each other")
	}
}

// TestTranscripts pins what is signed and derived, byte for byte.
func TestTranscripts(t *testing.T) {
	want := "6b6d732d656e636c6176652f6368616c6c656e67652f7631" + "00" + "00000005" + "6c6f67696e" + "0102"
	if got := hex.EncodeToString(ChallengeInput("login", []byte{1, 2})); got != want {
		t.Errorf("challenge %s, %s wanted", got, want)
	}
	salt, info := AgreeParams([]byte{2}, []byte{1}, "chat")
	other, _ := AgreeParams([]byte{1}, []byte{2}, "chat")
	if string(salt) != string(other) {
		t.Error("the two sides have different salts")
	}
	if got, want := hex.EncodeToString(info), "6b6d732d656e636c6176652f61677265652f7631"+"00"+"00000004"+"63686174"; got != want {
		t.Errorf("info %s, %s wanted", got, want)
	}
}

func TestPurposeAlgorithms(t *testing.T) {
	for _, test := range []struct {
		purpose Purpose
		wanted  keyengine.Alg
		got     keyengine.Alg
	}{
		{VAPID, "", "ES256"},
		{VAPID, "EdDSA", ""},
		{Identity, "", "EdDSA"},
		{Identity, "ES256", ""},
		{Agreement, "", "X25519"},
		{Agreement, "EdDSA", ""},
		{Signing, "", "EdDSA"},
		{Signing, "ES256", "ES256"},
		{Signing, "X25519", ""},
		{"everything", "", ""},
	} {
		if got, err := test.purpose.Algorithm(test.wanted); got != test.got || (err == nil) != (test.got != "") {
			t.Errorf("%s with %q: %q, %v", test.purpose, test.wanted, got, err)
		}
	}
}

// TestNewerHeader: what a newer release wrote is recognised as such.
func TestNewerHeader(t *testing.T) {
	if _, err := parseHeader([]byte(`{"format":3,"somethingNew":true}`)); !errors.Is(err, store.ErrNewer) {
		t.Errorf("a newer header: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	h := &header{Format: 1, Instance: make([]byte, 16), Slots: []slot{{ID: "x", Kind: "device"}}}
	encoded, err := h.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte(`{"format":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		again, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseHeader(again); err != nil {
			t.Errorf("%q encodes to %q, which is refused: %v", b, again, err)
		}
	})
}
