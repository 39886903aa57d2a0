package form

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Nothing below is secret, so arithmetic may take the time that it takes.

// CheckPublic returns ErrPublicKey if public is not a raw public key of alg,
// and ErrUnsupported if there is no such algorithm.
//
// ES256: the coordinates are reduced and the point is on the curve (SEC 1
// section 3.2.2.1); WebKitGTK 2.50 imports any pair. EdDSA: the encoding decodes
// (RFC 8032 section 5.1.3), which browsers find out at the first signature or never, and the point
// is not of small order, under which one signature is valid for many messages.
// X25519: only the length, because every value is a public key (RFC 7748
// section 5); see CanonicalU.
func CheckPublic(alg keyengine.Alg, public []byte) error {
	size := alg.PublicSize()
	switch {
	case size == 0:
		return fmt.Errorf("algorithm %q: %w", alg, keyengine.ErrUnsupported)
	case len(public) != size:
		return fmt.Errorf("%s public key of %d bytes, wanted %d: %w", alg, len(public), size, keyengine.ErrPublicKey)
	case alg == keyengine.ES256 && public[0] != 4:
		return fmt.Errorf("%s public key begins with %#02x, wanted 0x04: %w", alg, public[0], keyengine.ErrPublicKey)
	case alg == keyengine.ES256 && !onP256(integer(public[1:33]), integer(public[33:])):
		return fmt.Errorf("%s public key is not on its curve: %w", alg, keyengine.ErrPublicKey)
	case alg == keyengine.EdDSA && !onEdwards25519(public):
		return fmt.Errorf("%s public key does not decode or is of small order: %w", alg, keyengine.ErrPublicKey)
	}
	return nil
}

// CheckSignature reports whether signature can be one of alg. For EdDSA it
// refuses S ≥ L (RFC 8032 section 5.1.7), which WebKitGTK 2.50 accepts, so
// that one signature could be turned into others.
func CheckSignature(alg keyengine.Alg, signature []byte) bool {
	if len(signature) != keyengine.SignatureSize {
		return false
	}
	return alg != keyengine.EdDSA || littleEndian(signature[32:]).Cmp(orderL) < 0
}

// CanonicalU returns the u-coordinate of 32 bytes in its canonical encoding:
// the highest bit clear, reduced modulo p (RFC 7748 section 5). Firefox refuses
// some of the others.
func CanonicalU(u []byte) []byte {
	masked := bytes.Clone(u)
	masked[31] &= 0x7f
	reduced := littleEndian(masked)
	return reverse(reduced.Mod(reduced, p25519).FillBytes(make([]byte, 32)))
}

// The curves' constants: SEC 2 section 2.4.2, and RFC 8032 section 5.1.
var (
	p256   = constant("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
	p256B  = constant("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
	p25519 = constant("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed")
	edD    = constant("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3")
	orderL = constant("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
	one    = big.NewInt(1)
)

// onP256 evaluates y² = x³ − 3x + b.
func onP256(x, y *big.Int) bool {
	if x.Cmp(p256) >= 0 || y.Cmp(p256) >= 0 {
		return false
	}
	right := new(big.Int).Mul(x, x)
	right.Sub(right, big.NewInt(3)).Mul(right, x).Add(right, p256B)
	left := new(big.Int).Mul(y, y)
	return left.Sub(left, right).Mod(left, p256).Sign() == 0
}

// onEdwards25519 asks whether y is reduced and x² = (y² − 1) / (d·y² + 1) has a
// solution, and leaves out the points whose order divides 8. u/v is a square
// if and only if u·v is; d·y² + 1 is never zero.
func onEdwards25519(public []byte) bool {
	masked := bytes.Clone(public)
	masked[31] &= 0x7f // the sign of x, which is free, because x = 0 is of small order
	y := littleEndian(masked)
	if y.Cmp(p25519) >= 0 || smallOrder(y) {
		return false
	}
	y2 := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(y2, one)
	v := y2.Mul(y2, edD).Add(y2, one)
	uv := u.Mul(u, v).Mod(u, p25519)
	return big.Jacobi(uv, p25519) == 1
}

// smallY holds the y-coordinates of the points of edwards25519 whose order
// divides the cofactor 8: order 4 (y = 0), 1 (y = 1), 2 (y = −1), and four
// points of order 8, in two pairs.
var (
	orderEight = constant("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826")
	smallY     = []*big.Int{
		new(big.Int),
		one,
		new(big.Int).Sub(p25519, one),
		orderEight,
		new(big.Int).Sub(p25519, orderEight),
	}
)

func smallOrder(y *big.Int) bool {
	for _, small := range smallY {
		if y.Cmp(small) == 0 {
			return true
		}
	}
	return false
}

func integer(bigEndian []byte) *big.Int { return new(big.Int).SetBytes(bigEndian) }

func littleEndian(b []byte) *big.Int { return integer(reverse(b)) }

func reverse(b []byte) []byte {
	r := make([]byte, len(b))
	for i, v := range b {
		r[len(b)-1-i] = v
	}
	return r
}

// constant reads a constant of this file.
func constant(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("constant is not hexadecimal")
	}
	return n
}
