package form

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// TestGeneratedKeys wants keys of the standard library accepted.
func TestGeneratedKeys(t *testing.T) {
	for range 100 {
		p256, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ed, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		x, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPublic(keyengine.ES256, p256.PublicKey().Bytes()); err != nil {
			t.Error(err)
		}
		if err := CheckPublic(keyengine.EdDSA, ed); err != nil {
			t.Error(err)
		}
		public := x.PublicKey().Bytes()
		if err := CheckPublic(keyengine.X25519, public); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(CanonicalU(public), public) {
			t.Errorf("%x is not left as it is", public)
		}
	}
}

// TestConstants compares with the standard library's curve.
func TestConstants(t *testing.T) {
	params := elliptic.P256().Params()
	if p256.Cmp(params.P) != 0 || p256B.Cmp(params.B) != 0 {
		t.Error("constants of P-256 are wrong")
	}
	if !onP256(params.Gx, params.Gy) {
		t.Error("generator of P-256 is not on the curve")
	}
}

func TestCanonicalU(t *testing.T) {
	for in, wanted := range map[string]string{
		"0900000000000000000000000000000000000000000000000000000000000000": "0900000000000000000000000000000000000000000000000000000000000000",
		"0900000000000000000000000000000000000000000000000000000000000080": "0900000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": "0000000000000000000000000000000000000000000000000000000000000000",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": "1200000000000000000000000000000000000000000000000000000000000000",
		"daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		u, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(CanonicalU(u)); got != wanted {
			t.Errorf("%s becomes %s, wanted %s", in, got, wanted)
		}
	}
}

// FuzzES256Point wants the same answer as the standard library's.
func FuzzES256Point(f *testing.F) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key.PublicKey().Bytes())
	f.Add(make([]byte, 65))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, public []byte) {
		_, err := ecdh.P256().NewPublicKey(public)
		got := CheckPublic(keyengine.ES256, public)
		if (got == nil) != (err == nil) || got != nil && !errors.Is(got, keyengine.ErrPublicKey) {
			t.Errorf("%x: %v, wanted %v", public, got, err)
		}
	})
}

// FuzzEd25519Point wants every key and signature by which the standard
// library verifies accepted, except keys of small order or not reduced. (It
// has no way to ask whether a key decodes; by one that does not, nothing verifies.)
func FuzzEd25519Point(f *testing.F) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(public), ed25519.Sign(private, nil))
	f.Add(make([]byte, 32), make([]byte, 64))
	f.Fuzz(func(t *testing.T, public, signature []byte) {
		if len(public) != ed25519.PublicKeySize {
			return
		}
		verifies := ed25519.Verify(public, nil, signature)
		if !verifies {
			return
		}
		if !CheckSignature(keyengine.EdDSA, signature) {
			t.Errorf("signature %x verifies and is refused", signature)
		}
		masked := bytes.Clone(public)
		masked[31] &= 0x7f
		y := littleEndian(masked)
		if err := CheckPublic(keyengine.EdDSA, public); err != nil && !smallOrder(y) && y.Cmp(p25519) < 0 {
			t.Errorf("key %x verifies and is refused: %v", public, err)
		}
	})
}
