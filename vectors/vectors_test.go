//go:build kmstest

package vectors

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

type signatureGroup struct {
	PublicKey struct {
		Uncompressed hexBytes `json:"uncompressed"` // ECDSA
		PK           hexBytes `json:"pk"`           // Ed25519
	} `json:"publicKey"`
	Tests []struct {
		head
		Message   hexBytes `json:"msg"`
		Signature hexBytes `json:"sig"`
	} `json:"tests"`
}

func TestES256(t *testing.T) {
	run(t, "ecdsa_secp256r1_sha256_p1363_test.json", 262, func(t *testing.T, g signatureGroup) int {
		return verify(t, keyengine.ES256, g.PublicKey.Uncompressed, g)
	})
}

func TestEdDSA(t *testing.T) {
	run(t, "ed25519_test.json", 151, func(t *testing.T, g signatureGroup) int {
		return verify(t, keyengine.EdDSA, g.PublicKey.PK, g)
	})
}

// verify takes a refused public key for an invalid signature, which it must
// then be.
func verify(t *testing.T, alg keyengine.Alg, public []byte, g signatureGroup) int {
	e := newEngine(t)
	for _, v := range g.Tests {
		ok, err := e.Verify(t.Context(), alg, public, v.Message, v.Signature)
		if err != nil && !errors.Is(err, keyengine.ErrPublicKey) {
			t.Errorf("%v: %v", v, err)
		}
		if ok != (v.Result == valid) {
			t.Errorf("%v: verifies: %t", v, ok)
		}
	}
	return len(g.Tests)
}

type xdhGroup struct {
	Tests []struct {
		head
		Public  hexBytes `json:"public"`
		Private hexBytes `json:"private"`
		Shared  hexBytes `json:"shared"`
	} `json:"tests"`
}

// x25519PKCS8 is PKCS #8 of RFC 8410 section 7, up to the key.
var x25519PKCS8 = []byte{
	0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
}

// TestX25519 wants the shared point of every vector, those on the twist and
// not reduced included, unless it is zero, which must be refused.
func TestX25519(t *testing.T) {
	e := newEngine(t)
	kek := aead(t, make([]byte, 32))
	run(t, "x25519_test.json", 518, func(t *testing.T, g xdhGroup) int {
		for _, v := range g.Tests {
			key, err := e.UnwrapKey(t.Context(), keyengine.X25519, seal(t, e, kek, append(bytes.Clone(x25519PKCS8), clamped(v.Private)...)), kek, nil)
			if err != nil {
				t.Errorf("%v: %v", v, err)
				continue
			}
			got, err := e.Agree(t.Context(), key, v.Public, []byte("salt"), []byte("info"), 42)
			if bytes.Equal(v.Shared, make([]byte, 32)) {
				if !errors.Is(err, keyengine.ErrPublicKey) {
					t.Errorf("%v: error %v, wanted %v", v, err, keyengine.ErrPublicKey)
				}
				continue
			}
			wanted, hkdfErr := hkdf.Key(sha256.New, v.Shared, []byte("salt"), "info", 42)
			if err != nil || hkdfErr != nil || !bytes.Equal(got, wanted) {
				t.Errorf("%v: agreed on something else, %v", v, err)
			}
		}
		return len(g.Tests)
	})
}

// clamped returns a key that means the same: its lowest bit is ignored (RFC
// 7748 section 5). WebKitGTK 2.50 does not import keys that begin with a zero
// byte (https://bugs.webkit.org/show_bug.cgi?id=307095).
func clamped(private []byte) []byte {
	c := bytes.Clone(private)
	c[0] |= 1
	return c
}

type aeadGroup struct {
	IVSize  int `json:"ivSize"`
	KeySize int `json:"keySize"`
	TagSize int `json:"tagSize"`
	Tests   []struct {
		head
		Key        hexBytes `json:"key"`
		IV         hexBytes `json:"iv"`
		AAD        hexBytes `json:"aad"`
		Message    hexBytes `json:"msg"`
		Ciphertext hexBytes `json:"ct"`
		Tag        hexBytes `json:"tag"`
	} `json:"tests"`
}

// TestAES256GCM runs the vectors of 256-bit keys, 96-bit nonces and 128-bit tags.
func TestAES256GCM(t *testing.T) {
	e := newEngine(t)
	run(t, "aes_gcm_test.json", 66, func(t *testing.T, g aeadGroup) int {
		if g.KeySize != 256 || g.IVSize != 96 || g.TagSize != 128 {
			return 0
		}
		for _, v := range g.Tests {
			key := aead(t, v.Key)
			sealed := bytes.Join([][]byte{v.IV, v.Ciphertext, v.Tag}, nil)
			opened, err := e.Open(t.Context(), keyengine.OpenOp{Key: key, AAD: v.AAD, Sealed: sealed})
			if v.Result == invalid {
				if !errors.Is(err, keyengine.ErrOpen) {
					t.Errorf("%v: error %v, wanted %v", v, err, keyengine.ErrOpen)
				}
				continue
			}
			if err != nil || !bytes.Equal(opened[0], v.Message) {
				t.Errorf("%v: opens as something else, %v", v, err)
			}
			op := keyengine.SealOp{Key: key, Nonce: [keyengine.NonceSize]byte(v.IV), AAD: v.AAD, Plaintext: v.Message}
			got, err := e.Seal(t.Context(), op)
			if err != nil || !bytes.Equal(got[0], sealed) {
				t.Errorf("%v: seals as something else, %v", v, err)
			}
		}
		return len(g.Tests)
	})
}

type hkdfGroup struct {
	KeySize int `json:"keySize"`
	Tests   []struct {
		head
		IKM  hexBytes `json:"ikm"`
		Salt hexBytes `json:"salt"`
		Info hexBytes `json:"info"`
		Size int      `json:"size"`
		OKM  hexBytes `json:"okm"`
	} `json:"tests"`
}

// TestHKDF compares through a derived AES key, which is the first 32 bytes of
// the output (RFC 5869 section 2.3): it must open what the expected key
// sealed. Vectors of shorter output are left out; invalid ones ask for more
// than there is, which only Agree can.
func TestHKDF(t *testing.T) {
	e := newEngine(t)
	kek := aead(t, make([]byte, 32))
	run(t, "hkdf_sha256_test.json", 68, func(t *testing.T, g hkdfGroup) (ran int) {
		for _, v := range g.Tests {
			switch {
			case v.Result == invalid:
				key, err := e.UnwrapKey(t.Context(), keyengine.X25519, seal(t, e, kek, append(bytes.Clone(x25519PKCS8), clamped(make([]byte, 32))...)), kek, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Agree(t.Context(), key, append([]byte{9}, make([]byte, 31)...), v.Salt, v.Info, v.Size); err == nil {
					t.Errorf("%v: %d bytes derived", v, v.Size)
				}
			case v.Size < 32:
				continue
			default:
				derived, err := e.DeriveAEAD(t.Context(), secret(t, e, kek, v.IKM), v.Salt, v.Info)
				if err != nil {
					t.Errorf("%v: %v", v, err)
					continue
				}
				sealed := seal(t, e, aead(t, v.OKM[:32]), []byte("message"))
				if _, err := e.Open(t.Context(), keyengine.OpenOp{Key: derived, Sealed: sealed}); err != nil {
					t.Errorf("%v: derived another key", v)
				}
			}
			ran++
		}
		return ran
	})
}

func aead(t *testing.T, raw []byte) keyengine.AEADKey {
	t.Helper()
	key, err := importAEAD(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// secret brings 32 bytes in as a wrapped secret, and other lengths by the
// door for tests.
func secret(t *testing.T, e keyengine.Engine, kek keyengine.AEADKey, ikm []byte) keyengine.SecretKey {
	t.Helper()
	s, err := importSecret(ikm)
	if len(ikm) == keyengine.SecretSize {
		s, err = e.UnwrapSecret(t.Context(), seal(t, e, kek, ikm), keyengine.Target{Key: kek})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seal seals without additional data; the nonce is always the same, because
// here no key protects anything.
func seal(t *testing.T, e keyengine.Engine, key keyengine.AEADKey, plaintext []byte) []byte {
	t.Helper()
	sealed, err := e.Seal(t.Context(), keyengine.SealOp{Key: key, Plaintext: plaintext})
	if err != nil {
		t.Fatal(err)
	}
	return sealed[0]
}
