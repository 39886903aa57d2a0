package kat

import "encoding/hex"

// ES256: RFC 6979 appendix A.2.5. The private key is in PKCS #8 with the
// ECPrivateKey of RFC 5915 inside, public key included, as browsers write it.
var (
	es256Message = []byte("sample")
	es256Public  = unhex("04" +
		"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" +
		"7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299")
	es256Signature = unhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")
	es256PKCS8 = append(unhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"+
		"c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"+
		"a144034200"), es256Public...)
)

// EdDSA: RFC 8032 section 7.1, test 2. PKCS #8 as in RFC 8410 section 7.
var (
	eddsaMessage   = unhex("72")
	eddsaPublic    = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
	eddsaSignature = unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
	eddsaPKCS8 = unhex("302e020100300506032b657004220420" +
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
)

// X25519: RFC 7748 section 6.1, Alice's private key and Bob's public key.
var (
	x25519PKCS8 = unhex("302e020100300506032b656e04220420" +
		"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	x25519Peer   = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
	x25519Shared = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
)

// HKDF-SHA-256: RFC 5869 appendix A.1, of which DeriveAEAD takes 32 bytes.
var (
	hkdfIKM  = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")
	hkdfSalt = unhex("000102030405060708090a0b0c")
	hkdfInfo = unhex("f0f1f2f3f4f5f6f7f8f9")
	hkdfOKM  = unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
)

// AES-256-GCM: test case 16 of McGrew and Viega.
var (
	gcmKey       = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
	gcmNonce     = unhex("cafebabefacedbaddecaf888")
	gcmAAD       = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	gcmPlaintext = unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
		"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
	gcmCiphertext = unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
		"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662")
	gcmTag = unhex("76fc6ece0f4e1768cddf8853bb2d551b")
)

func gcmSealed() []byte {
	return append(append(append([]byte{}, gcmNonce...), gcmCiphertext...), gcmTag...)
}

// SHA-384 of "abc".
var abcSHA384 = unhex("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed" +
	"8086072ba1e7cc2358baeca134c825a7")

// unhex decodes a constant of this file.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
