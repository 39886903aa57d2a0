package form

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Nothing below is secret, so arithmetic may take the time that it takes; and
// it is short rather than fast.

// CheckPublic returns ErrPublicKey if public is not a raw public key of alg,
// and ErrUnsupported if there is no such algorithm.
//
// ES256: the coordinates are reduced and the point is on the curve (SEC 1
// section 3.2.2.1); WebKitGTK 2.50 imports any pair. EdDSA: y is reduced and the point
// is not of small order, under which one signature is valid for many messages;
// whether there is an x to it, VerifyEdDSA finds out. X25519: only the length,
// because every value is a public key (RFC 7748 section 5); see CanonicalU.
func CheckPublic(alg keyengine.Alg, public []byte) error {
	size := alg.PublicSize()
	switch {
	case size == 0:
		return fmt.Errorf("algorithm %q: %w", alg, keyengine.ErrUnsupported)
	case len(public) != size:
		return fmt.Errorf("%s public key of %d bytes, wanted %d: %w", alg, len(public), size, keyengine.ErrPublicKey)
	case alg == keyengine.ES256 && public[0] != 4:
		return fmt.Errorf("%s public key begins with %#02x, wanted 0x04: %w", alg, public[0], keyengine.ErrPublicKey)
	case alg == keyengine.ES256 && !onP256(public[1:33], public[33:]):
		return fmt.Errorf("%s public key is not on its curve: %w", alg, keyengine.ErrPublicKey)
	case alg == keyengine.EdDSA && (!reduced25519(public) || smallOrder(public)):
		return fmt.Errorf("%s public key is not reduced or is of small order: %w", alg, keyengine.ErrPublicKey)
	}
	return nil
}

// VerifyEdDSA reports whether signature is valid, for a public key that
// CheckPublic accepts (RFC 8032 section 5.1.7, without the cofactor). It is the
// same for every engine, because browsers give different answers: WebKitGTK 2.50
// accepts S ≥ L, by which one signature could be turned into others, and dies of
// long messages.
func VerifyEdDSA(public, message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(public, message, signature)
}

// CanonicalU returns the u-coordinate of 32 bytes in its canonical encoding:
// the highest bit clear, reduced modulo p (RFC 7748 section 5). Firefox refuses
// some of the others.
func CanonicalU(u []byte) []byte {
	c := bytes.Clone(u)
	c[31] &= 0x7f
	if !reduced25519(c) {
		c = append([]byte{c[0] - 0xed}, make([]byte, 31)...)
	}
	return c
}

// reduced25519 reports whether a coordinate is below p = 2²⁵⁵ − 19, its highest
// bit ignored. The 19 values that are not differ in their first byte only.
func reduced25519(c []byte) bool {
	return c[31]&0x7f != 0x7f || c[0] < 0xed || !bytes.Equal(c[1:31], bytes.Repeat([]byte{0xff}, 30))
}

// smallOrder reports whether a reduced y-coordinate is that of a point of
// edwards25519 whose order divides the cofactor 8, whatever the sign of x.
func smallOrder(public []byte) bool {
	y := [32]byte(public)
	y[31] &= 0x7f
	return slices.Contains(smallY, y)
}

// smallY holds these coordinates: of order 4, 1, 2, and of four points of order
// 8, in two pairs.
var smallY = [][32]byte{
	{},
	{1},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}

// num is an integer below 2²⁵⁶, in four words, the least significant first.
type num [4]uint64

// p256 and p256B are the constants of P-256 (SEC 2 section 2.4.2).
var (
	p256  = num{0xffffffffffffffff, 0x00000000ffffffff, 0x0000000000000000, 0xffffffff00000001}
	p256B = num{0x3bce3c3e27d2604b, 0x651d06b0cc53b0f6, 0xb3ebbd55769886bc, 0x5ac635d8aa3a93e7}
)

// onP256 evaluates y² + 3x = x³ + b modulo p.
func onP256(xBytes, yBytes []byte) bool {
	x, y := number(xBytes), number(yBytes)
	if !less(x, p256) || !less(y, p256) {
		return false
	}
	left := add(mul(y, y), add(x, add(x, x)))
	right := add(mul(mul(x, x), x), p256B)
	return left == right
}

func number(bigEndian []byte) (n num) {
	for i := range n {
		n[3-i] = binary.BigEndian.Uint64(bigEndian[8*i:])
	}
	return n
}

func less(a, b num) bool {
	_, borrow := sub(a, b)
	return borrow == 1
}

func sub(a, b num) (d num, borrow uint64) {
	for i := range d {
		d[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
	return d, borrow
}

// add returns a + b modulo p256, for a and b below it.
func add(a, b num) (s num) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(a[i], b[i], carry)
	}
	if carry == 1 || !less(s, p256) {
		s, _ = sub(s, p256)
	}
	return s
}

// mul returns a · b modulo p256, for a and b below it, by doubling and adding.
func mul(a, b num) (product num) {
	for i := 255; i >= 0; i-- {
		product = add(product, product)
		if b[i/64]>>(i%64)&1 == 1 {
			product = add(product, a)
		}
	}
	return product
}
