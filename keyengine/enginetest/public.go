package enginetest

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// fixtures unwraps keys printed in standards, as another engine would have
// wrapped them, and uses them.
func (s *suite) fixtures(t *testing.T) {
	kek := s.deviceHandle(t)
	for _, f := range []struct {
		alg           keyengine.Alg
		pkcs8, public string
	}{
		{ // RFC 6979 appendix A.2.5
			keyengine.ES256,
			"308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a14403420004" +
				"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
			"0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
		},
		{ // RFC 8032 section 7.1, test 1
			keyengine.EdDSA,
			"302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		},
		{ // RFC 7748 section 6.1
			keyengine.X25519,
			"302e020100300506032b656e0422042077076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
			"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
		},
	} {
		wrapped := s.sealOne(t, kek, []byte(f.alg), unhex(t, f.pkcs8))
		key := must(s.e.UnwrapKey(t.Context(), f.alg, wrapped, kek, []byte(f.alg)))(t)
		s.works(t, f.alg, unhex(t, f.public), key)
		if f.alg == keyengine.X25519 {
			s.sharedPoint(t, key)
		}
	}
}

// sharedPoint compares with RFC 7748 section 6.1 through HKDF.
func (s *suite) sharedPoint(t *testing.T, alice keyengine.PrivateKey) {
	bob := unhex(t, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
	shared := unhex(t, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
	for _, length := range []int{1, 32, 33, 255 * 32} {
		got := must(s.e.Agree(t.Context(), alice, bob, []byte("salt"), []byte("info"), length))(t)
		wanted := must(hkdf.Key(sha256.New, shared, []byte("salt"), "info", length))(t)
		if !bytes.Equal(got, wanted) {
			t.Errorf("%d bytes agreed are not HKDF of the shared point", length)
		}
	}
}

func (s *suite) verify(t *testing.T) {
	message := []byte("message")
	for _, alg := range []keyengine.Alg{keyengine.ES256, keyengine.EdDSA} {
		public, key := s.newKey(t, alg)
		signature := must(s.e.Sign(t.Context(), key, message))(t)
		otherPublic, _ := s.newKey(t, alg)
		for name, bad := range map[string][]byte{
			"empty":         nil,
			"first bit":     flipped(signature, 0),
			"last bit":      flipped(signature, -1),
			"short":         signature[:63],
			"long":          append(bytes.Clone(signature), 0),
			"zero":          make([]byte, 64),
			"all ones":      bytes.Repeat([]byte{0xff}, 64),
			"halves turned": append(bytes.Clone(signature[32:]), signature[:32]...),
		} {
			if must(s.e.Verify(t.Context(), alg, public, message, bad))(t) {
				t.Errorf("%s: malformed signature verifies: %s", alg, name)
			}
		}
		if alg == keyengine.EdDSA && must(s.e.Verify(t.Context(), alg, public, message, plusL(signature)))(t) {
			t.Error("EdDSA: signature with S + L verifies")
		}
		if must(s.e.Verify(t.Context(), alg, otherPublic, message, signature))(t) {
			t.Errorf("%s: signature verifies by another key", alg)
		}
	}
	for _, bad := range malformed(t) {
		_, err := s.e.Verify(t.Context(), bad.alg, bad.public, message, make([]byte, 64))
		wantErr(t, string(bad.alg)+" "+bad.name, err, keyengine.ErrPublicKey)
	}
	noX := append([]byte{2}, make([]byte, 31)...)
	if must(s.e.Verify(t.Context(), keyengine.EdDSA, noX, message, make([]byte, 64)))(t) {
		t.Error("EdDSA: a signature verifies by a key that is not a point")
	}
	_, err := s.e.Verify(t.Context(), keyengine.X25519, make([]byte, 32), message, make([]byte, 64))
	wantErr(t, "verifying by X25519", err, keyengine.ErrUnsupported)
}

// plusL adds the order of the group to S, which must not make another valid
// signature (RFC 8032 section 5.1.7).
func plusL(signature []byte) []byte {
	l := [32]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	c := bytes.Clone(signature)
	carry := 0
	for i, b := range l {
		sum := int(c[32+i]) + int(b) + carry
		c[32+i], carry = byte(sum), sum>>8
	}
	return c
}

type badPublic struct {
	alg    keyengine.Alg
	name   string
	public []byte
}

func malformed(t *testing.T) []badPublic {
	g := unhex(t, "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"+
		"4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5") // the generator of P-256
	ones := bytes.Repeat([]byte{0xff}, 32)
	return []badPublic{
		{keyengine.ES256, "empty", nil},
		{keyengine.ES256, "point at infinity", []byte{0}},
		{keyengine.ES256, "compressed", append([]byte{3}, g[1:33]...)},
		{keyengine.ES256, "hybrid", append([]byte{7}, g[1:]...)},
		{keyengine.ES256, "short", g[:64]},
		{keyengine.ES256, "long", append(bytes.Clone(g), 0)},
		{keyengine.ES256, "not on the curve", flipped(g, -1)},
		{keyengine.ES256, "zero", append([]byte{4}, make([]byte, 64)...)},
		{keyengine.ES256, "coordinate not reduced", append(append([]byte{4}, ones...), g[33:]...)},
		{keyengine.EdDSA, "empty", nil},
		{keyengine.EdDSA, "short", make([]byte, 31)},
		{keyengine.EdDSA, "long", make([]byte, 33)},
		{keyengine.EdDSA, "identity", append([]byte{1}, make([]byte, 31)...)},
		{keyengine.EdDSA, "order 4", make([]byte, 32)},
		{keyengine.EdDSA, "order 2", unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")},
		{keyengine.EdDSA, "order 8", unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")},
		{keyengine.EdDSA, "order 8, other sign", unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85")},
		{keyengine.EdDSA, "order 8, other y", unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")},
		{keyengine.EdDSA, "not reduced", unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")},
		{keyengine.EdDSA, "all ones", ones},
	}
}

func (s *suite) agree(t *testing.T) {
	public, key := s.newKey(t, keyengine.X25519)
	base := must(s.e.Agree(t.Context(), key, public, []byte("salt"), []byte("info"), 32))(t)
	for name, other := range map[string][]byte{
		"salt": must(s.e.Agree(t.Context(), key, public, []byte("other"), []byte("info"), 32))(t),
		"info": must(s.e.Agree(t.Context(), key, public, []byte("salt"), []byte("other"), 32))(t),
	} {
		if bytes.Equal(base, other) {
			t.Errorf("%s makes no difference", name)
		}
	}
	for _, length := range []int{-1, 0, 255*32 + 1} {
		if _, err := s.e.Agree(t.Context(), key, public, nil, nil, length); err == nil {
			t.Errorf("%d bytes agreed", length)
		}
	}
	for _, size := range []int{0, 31, 33} {
		_, err := s.e.Agree(t.Context(), key, make([]byte, size), nil, nil, 32)
		wantErr(t, "wrong length", err, keyengine.ErrPublicKey)
	}
	// The unused highest bit is ignored (RFC 7748 section 5).
	set := bytes.Clone(public)
	set[31] |= 0x80
	if !bytes.Equal(must(s.e.Agree(t.Context(), key, set, []byte("salt"), []byte("info"), 32))(t), base) {
		t.Error("the unused bit makes a difference")
	}
	for _, u := range smallOrderX25519 {
		_, err := s.e.Agree(t.Context(), key, unhex(t, u), nil, nil, 32)
		wantErr(t, "small order "+u, err, keyengine.ErrPublicKey)
	}
}

// smallOrderX25519 are all u-coordinates that give the zero point, in every
// encoding below 2²⁵⁶: 0, 1, the two of order 8, p−1, p, p+1, with the
// unused highest bit clear and set.
var smallOrderX25519 = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	return must(hex.DecodeString(s))(t)
}
