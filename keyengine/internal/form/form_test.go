package form

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
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
	bytesOf := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	if number(bytesOf(params.P)) != p256 || number(bytesOf(params.B)) != p256B {
		t.Error("constants of P-256 are wrong")
	}
	if !onP256(bytesOf(params.Gx), bytesOf(params.Gy)) {
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

// FuzzArithmetic compares with math/big.
func FuzzArithmetic(f *testing.F) {
	p := elliptic.P256().Params().P
	f.Add(make([]byte, 64))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 64 {
			return
		}
		x, y := new(big.Int).SetBytes(b[:32]), new(big.Int).SetBytes(b[32:])
		if got := less(number(b[:32]), number(b[32:])); got != (x.Cmp(y) < 0) {
			t.Errorf("less(%x, %x) is %t", x, y, got)
		}
		x.Mod(x, p)
		y.Mod(y, p)
		bytesOf := func(n *big.Int) []byte { return new(big.Int).Mod(n, p).FillBytes(make([]byte, 32)) }
		if got := add(number(bytesOf(x)), number(bytesOf(y))); got != number(bytesOf(new(big.Int).Add(x, y))) {
			t.Errorf("%x + %x is %x", x, y, got)
		}
		if got := mul(number(bytesOf(x)), number(bytesOf(y))); got != number(bytesOf(new(big.Int).Mul(x, y))) {
			t.Errorf("%x * %x is %x", x, y, got)
		}
	})
}

// FuzzEd25519Point wants every key and signature by which the standard library
// verifies to verify here, except by keys of small order or not reduced.
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
		err := CheckPublic(keyengine.EdDSA, public)
		if got, want := VerifyEdDSA(public, nil, signature), len(signature) == 64 && ed25519.Verify(public, nil, signature); got != want {
			t.Errorf("%x by %x: %t", signature, public, got)
		}
		y := littleEndian(public)
		small := y.Cmp(big.NewInt(1)) <= 0 || new(big.Int).Add(y, big.NewInt(1)).Cmp(p25519) == 0 || orderEight(public)
		if (err == nil) != (y.Cmp(p25519) < 0 && !small) {
			t.Errorf("key %x: %v", public, err)
		}
	})
}

var p25519 = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

// littleEndian returns a y-coordinate, without the sign of x.
func littleEndian(b []byte) *big.Int {
	masked := bytes.Clone(b)
	masked[31] &= 0x7f
	slices.Reverse(masked)
	return new(big.Int).SetBytes(masked)
}

// orderEight reports whether y is that of a point of order 8: doubled, it is one
// of order 4, whose y is 0. That is so if x² + y² = 0, for which −x² + y² = 1 + d·x²·y²
// gives 2y² = 1 − d·y⁴.
func orderEight(public []byte) bool {
	d, ok := new(big.Int).SetString("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3", 16)
	y2 := littleEndian(public)
	y2.Mul(y2, y2)
	right := new(big.Int).Mul(d, new(big.Int).Mul(y2, y2))
	right.Sub(big.NewInt(1), right)
	left := new(big.Int).Lsh(y2, 1)
	return ok && left.Sub(left, right).Mod(left, p25519).Sign() == 0
}

// TestSmallOrder: the table is what the curve's equation gives.
func TestSmallOrder(t *testing.T) {
	for _, y := range smallY[3:] {
		if !orderEight(y[:]) {
			t.Errorf("%x is not of order 8", y)
		}
	}
	if len(smallY) != 5 || littleEndian(smallY[2][:]).Cmp(new(big.Int).Sub(p25519, big.NewInt(1))) != 0 {
		t.Errorf("table %x", smallY)
	}
}
