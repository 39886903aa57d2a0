//go:build !js

package enclave

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"math/big"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// TestRawSignature: what the standard library writes is read, each way of writing it
// differently is not.
func TestRawSignature(t *testing.T) {
	type pair struct{ R, S *big.Int }
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	for _, p := range []pair{{big.NewInt(1), big.NewInt(1)}, {big.NewInt(0x80), most}, {most, big.NewInt(0x7f)}, {new(big.Int).Rsh(most, 1), big.NewInt(0x100)}} {
		der, err := asn1.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := rawSignature(der)
		if want := append(p.R.FillBytes(make([]byte, 32)), p.S.FillBytes(make([]byte, 32))...); err != nil || !bytes.Equal(raw, want) {
			t.Errorf("%x: %x, %v", der, raw, err)
		}
	}
	tooMuch, err := asn1.Marshal(pair{new(big.Int).Add(most, big.NewInt(1)), big.NewInt(1)})
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"empty":             nil,
		"a set":             {0x31, 6, 2, 1, 1, 2, 1, 1},
		"trailing":          {0x30, 6, 2, 1, 1, 2, 1, 1, 0},
		"trailing inside":   {0x30, 7, 2, 1, 1, 2, 1, 1, 0},
		"one integer":       {0x30, 3, 2, 1, 1},
		"zero bytes of one": {0x30, 5, 2, 0, 2, 1, 1},
		"negative":          {0x30, 6, 2, 1, 0x80, 2, 1, 1},
		"padded":            {0x30, 7, 2, 2, 0, 1, 2, 1, 1},
		"zero":              {0x30, 6, 2, 1, 0, 2, 1, 1},
		"long form":         {0x30, 0x81, 6, 2, 1, 1, 2, 1, 1},
		"cut off":           {0x30, 6, 2, 1, 1, 2, 2, 1},
		"too long":          tooMuch,
	} {
		if raw, err := rawSignature(der); err == nil {
			t.Errorf("%s: %x", name, raw)
		}
	}
}

// FuzzRawSignature: what is read is what DER says, and is written again as the same bytes.
func FuzzRawSignature(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for range 4 {
		der, err := ecdsa.SignASN1(rand.Reader, key, make([]byte, 32))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		raw, err := rawSignature(der)
		if err != nil {
			return
		}
		again, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
		if err != nil || len(raw) != keyengine.SignatureSize || !bytes.Equal(again, der) {
			t.Errorf("%x is read as %x, which is %x (%v)", der, raw, again, err)
		}
	})
}

// FuzzPublicOf: a key that is read is the one that the standard library reads, if it
// takes the point at all.
func FuzzPublicOf(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for algorithm, key := range map[int]any{coseES256: &key.PublicKey, coseEdDSA: public} {
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			f.Fatal(err)
		}
		for _, a := range []int{algorithm, -257, 0} {
			f.Add(a, spki)
		}
		f.Add(algorithm, spki[1:])
	}
	f.Fuzz(func(t *testing.T, algorithm int, spki []byte) {
		raw, err := publicOf(algorithm, spki)
		if err != nil {
			return
		}
		alg := map[int]keyengine.Alg{coseES256: keyengine.ES256, coseEdDSA: keyengine.EdDSA}[algorithm]
		if len(raw) != alg.PublicSize() || alg == "" {
			t.Fatalf("algorithm %d: %d bytes", algorithm, len(raw))
		}
		parsed, err := x509.ParsePKIXPublicKey(spki)
		if err != nil {
			return // not on the curve: the engine finds that
		}
		switch key := parsed.(type) {
		case *ecdsa.PublicKey:
			if again, err := key.Bytes(); err != nil || !bytes.Equal(again, raw) || alg != keyengine.ES256 {
				t.Errorf("%x is read as %x", spki, raw)
			}
		case ed25519.PublicKey:
			if !bytes.Equal(key, raw) || alg != keyengine.EdDSA {
				t.Errorf("%x is read as %x", spki, raw)
			}
		default:
			t.Errorf("%x is a %T", spki, parsed)
		}
	})
}

// FuzzClientData: what is taken says, read by anybody, this type, challenge and origin.
func FuzzClientData(f *testing.F) {
	challenge := bytes.Repeat([]byte{7}, 32)
	const good = `{"type":"webauthn.get","challenge":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","origin":"https://enclave.example","crossOrigin":true}`
	f.Add([]byte(good))
	f.Add([]byte(`{"Type":"webauthn.get"}`))
	f.Add([]byte(good[:len(good)-1] + `,"origin":"https://evil.example"}`))
	f.Add([]byte("\ufeff" + good))
	e := &Enclave{cfg: Config{Self: "https://enclave.example"}}
	if err := e.checkClient([]byte(good), "webauthn.get", challenge); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := e.checkClient(text, "webauthn.get", challenge)
		if err != nil {
			if !errors.Is(err, errAssertion) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if e.checkClient(text, "webauthn.create", challenge) == nil || e.checkClient(text, "webauthn.get", challenge[1:]) == nil || e.checkClient(text, "webauthn.get", nil) == nil {
			t.Errorf("%q answers everything", text)
		}
		var client map[string]any
		if err := json.Unmarshal(text, &client); err != nil || client["type"] != "webauthn.get" || client["origin"] != "https://enclave.example" ||
			client["challenge"] != base64.RawURLEncoding.EncodeToString(challenge) {
			t.Errorf("%q was taken (%v)", text, err)
		}
	})
}

// TestHostOf: the relying party is the host without scheme and port.
func TestHostOf(t *testing.T) {
	for origin, want := range map[string]string{"https://enclave.example": "enclave.example", "http://localhost:8443": "localhost", "https://a.b.example:444": "a.b.example"} {
		if got := hostOf(origin); got != want {
			t.Errorf("%s: %s", origin, got)
		}
	}
}
