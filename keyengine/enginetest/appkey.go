package enginetest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

func (s *suite) applicationKey(t *testing.T, alg keyengine.Alg) {
	kek := s.deviceHandle(t)
	var seen []byte
	aad := func(public []byte) []byte {
		seen = bytes.Clone(public)
		return append([]byte("bound to "), public...)
	}
	g := must(s.e.GenerateKey(t.Context(), alg, kek, aad))(t)
	if len(g.Public) != alg.PublicSize() || !bytes.Equal(seen, g.Public) {
		t.Fatalf("public key %x, shown to aad as %x", g.Public, seen)
	}
	bound := aad(g.Public)
	key := must(s.e.UnwrapKey(t.Context(), alg, g.Wrapped, kek, bound))(t)
	if key.Alg() != alg {
		t.Errorf("key is for %s", key.Alg())
	}
	s.works(t, alg, g.Public, key)
	again := must(s.e.GenerateKey(t.Context(), alg, kek, aad))(t)
	if bytes.Equal(again.Public, g.Public) {
		t.Error("two generated keys are the same")
	}
	s.doesNotUnwrap(t, alg, g, kek, bound)
}

// works checks that key is the private half of public.
func (s *suite) works(t *testing.T, alg keyengine.Alg, public []byte, key keyengine.PrivateKey) {
	t.Helper()
	if alg == keyengine.X25519 {
		otherPublic, other := s.newKey(t, alg)
		a := must(s.e.Agree(t.Context(), key, otherPublic, nil, nil, 32))(t)
		b := must(s.e.Agree(t.Context(), other, public, nil, nil, 32))(t)
		if !bytes.Equal(a, b) {
			t.Error("the two sides do not agree")
		}
		_, err := s.e.Sign(t.Context(), key, []byte("m"))
		wantErr(t, "signing with X25519", err, keyengine.ErrHandle)
		return
	}
	for _, message := range [][]byte{nil, []byte("message"), bytes.Repeat([]byte{0xa5}, maxEdDSAMessage-1)} {
		signature := must(s.e.Sign(t.Context(), key, message))(t)
		if len(signature) != keyengine.SignatureSize {
			t.Fatalf("signature of %d bytes", len(signature))
		}
		if !must(s.e.Verify(t.Context(), alg, public, message, signature))(t) {
			t.Errorf("signature of %d bytes of message does not verify", len(message))
		}
		if must(s.e.Verify(t.Context(), alg, public, append([]byte("x"), message...), signature))(t) {
			t.Error("signature of another message verifies")
		}
	}
	s.longMessage(t, alg, public, key)
	_, err := s.e.Agree(t.Context(), key, make([]byte, 32), nil, nil, 32)
	wantErr(t, "agreeing with "+string(alg), err, keyengine.ErrHandle)
}

// maxEdDSAMessage is the most that every browser signs with EdDSA.
const maxEdDSAMessage = 32 << 10

// longMessage wants messages of any length to sign and verify. An engine whose
// platform would die of signing one with EdDSA says ErrUnsupported.
func (s *suite) longMessage(t *testing.T, alg keyengine.Alg, public []byte, key keyengine.PrivateKey) {
	long := make([]byte, 300<<10)
	signature, err := s.e.Sign(t.Context(), key, long)
	if err == nil {
		if !must(s.e.Verify(t.Context(), alg, public, long, signature))(t) {
			t.Error("signature of a long message does not verify")
		}
		return
	}
	if alg == keyengine.ES256 {
		t.Fatal(err)
	}
	wantErr(t, "signing a long message", err, keyengine.ErrUnsupported)
	if must(s.e.Verify(t.Context(), alg, public, long, make([]byte, 64)))(t) {
		t.Error("nonsense verifies as the signature of a long message")
	}
}

func (s *suite) doesNotUnwrap(t *testing.T, alg keyengine.Alg, g keyengine.Generated, kek keyengine.AEADKey, aad []byte) {
	otherAlg := keyengine.ES256
	if alg == otherAlg {
		otherAlg = keyengine.EdDSA
	}
	for _, test := range []struct {
		name    string
		alg     keyengine.Alg
		wrapped []byte
		kek     keyengine.AEADKey
		aad     []byte
	}{
		{"changed nonce", alg, flipped(g.Wrapped, 0), kek, aad},
		{"changed ciphertext", alg, flipped(g.Wrapped, keyengine.NonceSize), kek, aad},
		{"changed tag", alg, flipped(g.Wrapped, -1), kek, aad},
		{"cut off", alg, g.Wrapped[:len(g.Wrapped)-1], kek, aad},
		{"too short for a tag", alg, g.Wrapped[:keyengine.NonceSize+keyengine.TagSize-1], kek, aad},
		{"empty", alg, nil, kek, aad},
		{"longer", alg, append(bytes.Clone(g.Wrapped), 0), kek, aad},
		{"another additional data", alg, g.Wrapped, kek, flipped(aad, -1)},
		{"no additional data", alg, g.Wrapped, kek, nil},
		{"another key", alg, g.Wrapped, s.deviceHandle(t), aad},
		{"another algorithm", otherAlg, g.Wrapped, kek, aad},
		{"sealed nonsense", alg, s.sealOne(t, kek, aad, []byte("not PKCS #8")), kek, aad},
		{"sealed nothing", alg, s.sealOne(t, kek, aad, nil), kek, aad},
	} {
		_, err := s.e.UnwrapKey(t.Context(), test.alg, test.wrapped, test.kek, test.aad)
		wantErr(t, test.name, err, keyengine.ErrOpen)
	}
	s.otherCurve25519(t, alg, g, kek, aad)
	_, err := s.e.UnwrapKey(t.Context(), "RS256", g.Wrapped, kek, aad)
	wantErr(t, "unknown algorithm", err, keyengine.ErrUnsupported)
	_, err = s.e.GenerateKey(t.Context(), "RS256", kek, func([]byte) []byte { return nil })
	wantErr(t, "generating for an unknown algorithm", err, keyengine.ErrUnsupported)
}

// otherCurve25519 takes an EdDSA key for an X25519 key and the other way
// round. Firefox notices only when the handle is used, which is soon enough:
// no key may do the work of two algorithms.
func (s *suite) otherCurve25519(t *testing.T, alg keyengine.Alg, g keyengine.Generated, kek keyengine.AEADKey, aad []byte) {
	if alg == keyengine.ES256 {
		return
	}
	other := keyengine.EdDSA
	if alg == other {
		other = keyengine.X25519
	}
	key, err := s.e.UnwrapKey(t.Context(), other, g.Wrapped, kek, aad)
	if err != nil {
		wantErr(t, "the other algorithm on Curve25519", err, keyengine.ErrOpen)
		return
	}
	if other == keyengine.EdDSA {
		_, err = s.e.Sign(t.Context(), key, []byte("message"))
	} else {
		_, err = s.e.Agree(t.Context(), key, append([]byte{9}, make([]byte, 31)...), nil, nil, 32)
	}
	if err == nil {
		t.Errorf("%s key works as %s", alg, other)
	}
}

// wrappedForm opens what GenerateKey sealed, as whoever holds the wrapping key
// can, and wants the one form of PKCS #8 that every engine writes.
func (s *suite) wrappedForm(t *testing.T) {
	kek := s.deviceHandle(t)
	for _, alg := range allAlgorithms {
		g := s.generate(t, alg, kek, []byte("aad"))
		der := must(s.openOne(t.Context(), kek, []byte("aad"), g.Wrapped))(t)
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		if got := rawPublic(t, key); !bytes.Equal(got, g.Public) {
			t.Errorf("%s: PKCS #8 has the public key %x, wanted %x", alg, got, g.Public)
		}
		if again := must(x509.MarshalPKCS8PrivateKey(key))(t); !bytes.Equal(again, der) {
			t.Errorf("%s: PKCS #8 of %d bytes is not in the one form, of %d bytes", alg, len(der), len(again))
		}
	}
}

func rawPublic(t *testing.T, key any) []byte {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return must(k.PublicKey.Bytes())(t)
	case ed25519.PrivateKey:
		return k.Public().(ed25519.PublicKey)
	case *ecdh.PrivateKey:
		return k.PublicKey().Bytes()
	}
	t.Fatalf("key is a %T", key)
	return nil
}
