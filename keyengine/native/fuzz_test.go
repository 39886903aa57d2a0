package native

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

var algorithms = []keyengine.Alg{keyengine.ES256, keyengine.EdDSA, keyengine.X25519}

// FuzzPKCS8 wants whatever parses to be written back as the same bytes.
func FuzzPKCS8(f *testing.F) {
	for i, alg := range algorithms {
		key, err := New(&counter{}).newPrivate(alg)
		if err != nil {
			f.Fatal(err)
		}
		der, err := key.pkcs8()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), der)
	}
	f.Fuzz(func(t *testing.T, i uint8, der []byte) {
		key, err := parsePKCS8(algorithms[int(i)%len(algorithms)], der)
		if err != nil {
			return
		}
		again, err := key.pkcs8()
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x is written back as %x, %v", der, again, err)
		}
	})
}

// FuzzVerify wants neither a panic nor an error that is not ErrPublicKey.
func FuzzVerify(f *testing.F) {
	f.Add(false, make([]byte, 65), []byte("message"), make([]byte, 64))
	f.Add(true, make([]byte, 32), []byte("message"), make([]byte, 64))
	e := New(nil)
	f.Fuzz(func(t *testing.T, eddsa bool, public, message, signature []byte) {
		alg := keyengine.ES256
		if eddsa {
			alg = keyengine.EdDSA
		}
		_, err := e.Verify(t.Context(), alg, public, message, signature)
		if err != nil && !errors.Is(err, keyengine.ErrPublicKey) {
			t.Error(err)
		}
	})
}

// FuzzAgree wants either ErrPublicKey or the length asked for.
func FuzzAgree(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add(append([]byte{9}, make([]byte, 31)...))
	e := New(nil)
	key, err := e.newPrivate(keyengine.X25519)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, peer []byte) {
		got, err := e.Agree(t.Context(), key, peer, nil, nil, 33)
		if err != nil && !errors.Is(err, keyengine.ErrPublicKey) || err == nil && len(got) != 33 {
			t.Errorf("%x: %d bytes, %v", peer, len(got), err)
		}
	})
}
