// Package jws takes the compact serialisation of a JSON Web Signature apart (RFC 7515 section 7.1), in
// its one spelling, and makes and checks ES256 signatures (RFC 7518 section 3.4). What the header and the
// payload say is for whoever asked.
package jws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
)

// SignatureSize is the length of an ES256 signature, r‖s, in bytes.
const SignatureSize = 64

// Compact is a token that was taken apart: nothing of it may be believed.
type Compact struct {
	Header, Payload, Signature []byte
	Input                      string // what the signature is of
}

// Parse takes a token apart. The error says which part is not what it has to be, and does not quote it.
func Parse(token string) (c Compact, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Compact{}, fmt.Errorf("%d parts, wanted 3", len(parts))
	}
	for i, into := range []*[]byte{&c.Header, &c.Payload, &c.Signature} {
		if *into, err = Decode(parts[i]); err != nil {
			return Compact{}, fmt.Errorf("part %d is not base64url", i+1)
		}
	}
	c.Input = parts[0] + "." + parts[1]
	return c, nil
}

// VerifyES256 reports whether public, an uncompressed P-256 point, has signed the token.
func (c Compact) VerifyES256(public []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil || len(c.Signature) != SignatureSize {
		return false
	}
	digest := sha256.Sum256([]byte(c.Input))
	r, s := new(big.Int).SetBytes(c.Signature[:SignatureSize/2]), new(big.Int).SetBytes(c.Signature[SignatureSize/2:])
	return ecdsa.Verify(key, digest[:], r, s)
}

// SignES256 returns r‖s.
func SignES256(key *ecdsa.PrivateKey, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, SignatureSize)
	r.FillBytes(signature[:SignatureSize/2])
	s.FillBytes(signature[SignatureSize/2:])
	return signature, nil
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// IsBase64url reports whether a text has the characters of base64url only.
func IsBase64url(s string) bool { return strings.Trim(s, alphabet) == "" }

// Encode gives base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Decode takes that in its one form: Go's decoder skips line breaks.
func Decode(s string) ([]byte, error) {
	if at := strings.IndexAny(s, "\r\n"); at >= 0 {
		return nil, base64.CorruptInputError(at)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
