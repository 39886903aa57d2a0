// Package form checks the byte forms that every engine takes in: raw public
// keys, signatures, sealed messages, and lengths. What one engine refuses here,
// all refuse.
//
//	public key of ES256           04 ‖ x ‖ y, 65 bytes (SEC 1 section 2.3.3, uncompressed)
//	public key of EdDSA           32 bytes (RFC 8032 section 5.1.2)
//	public key of X25519          32 bytes (RFC 7748 section 5)
//	signature                     r ‖ s (RFC 7518 section 3.4) or R ‖ S (RFC 8032 section 5.1.6), 64 bytes
//	sealed message, wrapped key   nonce, 12 bytes ‖ ciphertext ‖ tag, 16 bytes
//	private key, before wrapping  PKCS #8, see PKCS8Size
//
// It exists because browsers differ. Each check below that a browser ought to
// make names the one that did not when it was measured.
package form

import (
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
)

// PKCS8Size returns the length of a private key in the one form that engines
// wrap: for ES256 an ECPrivateKey (RFC 5915) with the public key and without
// parameters, for EdDSA and X25519 as in RFC 8410 section 7 without a public key.
//
// A key of another length is one of another algorithm, which Firefox takes
// without complaint and signs with, or one that lost a leading zero.
func PKCS8Size(alg keyengine.Alg) int {
	switch alg {
	case keyengine.ES256:
		return 138
	case keyengine.EdDSA, keyengine.X25519:
		return 48
	}
	return 0
}

const overhead = keyengine.NonceSize + keyengine.TagSize

// CheckWrappedKey returns ErrOpen unless wrapped has the length of a wrapped
// key of alg, and ErrUnsupported if there is no such algorithm.
func CheckWrappedKey(alg keyengine.Alg, wrapped []byte) error {
	size := PKCS8Size(alg)
	if size == 0 {
		return fmt.Errorf("algorithm %q: %w", alg, keyengine.ErrUnsupported)
	}
	if len(wrapped) != overhead+size {
		return fmt.Errorf("wrapped %s key of %d bytes, wanted %d: %w", alg, len(wrapped), overhead+size, keyengine.ErrOpen)
	}
	return nil
}

// CheckWrappedSecret returns ErrOpen unless wrapped has the length of a wrapped secret.
func CheckWrappedSecret(wrapped []byte) error {
	const wanted = overhead + keyengine.SecretSize
	if len(wrapped) != wanted {
		return fmt.Errorf("wrapped secret of %d bytes, wanted %d: %w", len(wrapped), wanted, keyengine.ErrOpen)
	}
	return nil
}

// CheckSecret returns an error unless a secret from outside has the length of one.
func CheckSecret(ikm []byte) error {
	if len(ikm) != keyengine.SecretSize {
		return fmt.Errorf("secret of %d bytes, wanted %d", len(ikm), keyengine.SecretSize)
	}
	return nil
}

// CheckRewrap returns an *OpenError for the first op whose wrapped key has not
// the length of one, and ErrUnsupported if there is no such algorithm.
func CheckRewrap(ops []keyengine.RewrapOp) error {
	for i := range ops {
		switch err := CheckWrappedKey(ops[i].Alg, ops[i].Wrapped); {
		case errors.Is(err, keyengine.ErrOpen):
			return &keyengine.OpenError{Index: i}
		case err != nil:
			return err
		}
	}
	return nil
}

// Split takes a sealed message apart, without copying. It returns ErrOpen if
// there is no room for a nonce and a tag.
func Split(sealed []byte) (nonce, body []byte, err error) {
	if len(sealed) < overhead {
		return nil, nil, fmt.Errorf("sealed message of %d bytes: %w", len(sealed), keyengine.ErrOpen)
	}
	return sealed[:keyengine.NonceSize], sealed[keyengine.NonceSize:], nil
}

// maxOKM is the most that HKDF-SHA-256 gives (RFC 5869 section 2.3).
const maxOKM = 255 * 32

// CheckOKM checks the length of output keying material that a caller asks for.
func CheckOKM(length int) error {
	if length < 1 || length > maxOKM {
		return fmt.Errorf("length %d of derived bytes, wanted 1 to %d", length, maxOKM)
	}
	return nil
}
