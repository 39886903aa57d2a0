//go:build !js

package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/passphrase"
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

// exampleHeader has a slot of each kind, and a recovery phrase.
func exampleHeader() *header {
	to := recipient{Public: make([]byte, 1216), Enc: make([]byte, 1120)}
	return &header{
		Instance: make([]byte, 16), Lineage: make([]byte, 16), Lock: LockNone, Idle: 900, Persistence: PersistDevice,
		Slots: []slot{
			{ID: "x", Kind: KindDevice},
			{ID: "y", Kind: KindPassphrase, Sealed: &to, Salt: make([]byte, 16), Argon: &passphrase.Params{MemoryKiB: 19 << 10, Passes: 2}},
			{ID: "z", Kind: KindPasskey, Sealed: &to, Salt: make([]byte, 32), Passkey: &Passkey{Credential: []byte{1}, Algorithm: -7, Public: make([]byte, 65)}},
		},
		Recovery: &sealed{recipient: to, CreatedAt: 1, Phrase: make([]byte, 16), VaultKey: []byte{1}},
	}
}

// noVouch is as long as a vouch.
func noVouch([]byte) ([]byte, error) { return make([]byte, vouchSize), nil }

// TestHeaderRefuses: a slot that lacks what its kind needs, and a cost that would keep
// the machine busy for an hour, are noticed before anything is computed.
func TestHeaderRefuses(t *testing.T) {
	for name, change := range map[string]func(h *header){
		"no slot":                      func(h *header) { h.Slots = nil },
		"an unknown kind":              func(h *header) { h.Slots[0].Kind = "password" },
		"a short instance":             func(h *header) { h.Instance = h.Instance[1:] },
		"no lineage":                   func(h *header) { h.Lineage = nil },
		"a long lineage":               func(h *header) { h.Lineage = make([]byte, 17) },
		"a passphrase without cost":    func(h *header) { h.Slots[1].Argon = nil },
		"a passphrase without its key": func(h *header) { h.Slots[1].Sealed = nil },
		"a passkey without its key":    func(h *header) { h.Slots[2].Sealed = nil },
		"a passkey without itself":     func(h *header) { h.Slots[2].Passkey = nil },
		"more passes than there are":   func(h *header) { h.Slots[1].Argon.Passes = 1 << 30 },
		"more memory than there is":    func(h *header) { h.Slots[1].Argon.MemoryKiB = 1 << 31 },
		"one pass":                     func(h *header) { h.Slots[1].Argon.Passes = 1 },
		"hardly any memory":            func(h *header) { h.Slots[1].Argon.MemoryKiB = 8 },
		"a lock beside a device":       func(h *header) { h.Lock = KindPassphrase },
		"no lock without a device":     func(h *header) { h.Slots = h.Slots[1:] },
		"a year of idleness":           func(h *header) { h.Idle = 365 * 24 * 60 * 60 },
		"a short phrase id":            func(h *header) { h.Recovery.Phrase = h.Recovery.Phrase[1:] },
		"no cost at all":               func(h *header) { *h.Slots[1].Argon = passphrase.Params{} },
	} {
		h := exampleHeader()
		change(h)
		encoded, err := h.encode(noVouch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseHeader(encoded); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	encoded, err := exampleHeader().encode(noVouch)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseHeader(encoded); err != nil {
		t.Errorf("the example itself: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	h := &header{Format: 1, Instance: make([]byte, 16), Slots: []slot{{ID: "x", Kind: "device"}}}
	encoded, err := h.encode(noVouch)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	if encoded, err = exampleHeader().encode(noVouch); err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add([]byte(`{"format":1,"instance":"AAAAAAAAAAAAAAAAAAAAAA==","slots":[{"id":"x","kind":"device"}]}`))
	f.Add([]byte(`{"format":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		h.relock()
		if c := h.clone(); (h.Lock == LockNone) != (c.byKind(KindDevice) != nil) || len(c.Slots) != len(h.Slots) {
			t.Errorf("%q: lock %q", b, h.Lock)
		}
		for _, s := range h.Slots {
			if s.Kind == KindPassphrase && s.Argon.Check() != nil {
				t.Errorf("%q: cost %+v accepted", b, s.Argon)
			}
		}
		again, err := h.encode(noVouch)
		if err != nil {
			t.Fatal(err)
		}
		second, err := parseHeader(again)
		if err != nil {
			t.Fatalf("%q encodes to %q, which is refused: %v", b, again, err)
		}
		if twice, err := second.encode(noVouch); err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%q encodes to %q, and then to %q (%v)", b, again, twice, err)
		}
	})
}
