package vault

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// JWK holds the members of a public JSON Web Key that RFC 7638 hashes.
type JWK struct {
	CRV, KTY, X, Y string
}

// NewJWK returns the JWK of a raw public key (RFC 7518 section 6.2.1, RFC 8037
// section 2). The key's length must fit the algorithm.
func NewJWK(alg keyengine.Alg, public []byte) (JWK, error) {
	if len(public) == 0 || len(public) != alg.PublicSize() {
		return JWK{}, fmt.Errorf("public key: %d bytes for %s, %d wanted", len(public), alg, alg.PublicSize())
	}
	b64 := base64.RawURLEncoding.EncodeToString
	switch alg {
	case keyengine.ES256:
		if public[0] != 4 {
			return JWK{}, fmt.Errorf("public key: not an uncompressed point")
		}
		return JWK{CRV: "P-256", KTY: "EC", X: b64(public[1:33]), Y: b64(public[33:])}, nil
	case keyengine.EdDSA:
		return JWK{CRV: "Ed25519", KTY: "OKP", X: b64(public)}, nil
	}
	return JWK{CRV: "X25519", KTY: "OKP", X: b64(public)}, nil
}

// Thumbprint returns the key id: the RFC 7638 thumbprint with SHA-256 of the
// public JWK, base64url, 43 characters. RFC 8037 section 2 fixes the members
// for OKP keys.
func (k JWK) Thumbprint() string {
	// Members in lexicographic order, no whitespace. Values are base64url or
	// fixed words, so nothing needs escaping.
	text := `{"crv":"` + k.CRV + `","kty":"` + k.KTY + `","x":"` + k.X + `"`
	if k.Y != "" {
		text += `,"y":"` + k.Y + `"`
	}
	sum := sha256.Sum256([]byte(text + "}"))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
