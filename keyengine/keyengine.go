// Package keyengine is the only door to private and secret keys.
//
// An [Engine] makes, wraps, unwraps and uses keys that stay opaque. No method
// returns the bytes of a private or secret key, and one accepts them: through
// [Engine.ImportSecret] comes what a user brings, because a passphrase, a
// passkey and a recovery phrase begin outside the engine.
// Package webcrypto implements it over non-extractable CryptoKey handles in a
// browser; package native implements it over the standard library, so that
// everything above it runs under plain go test.
//
// Every key at rest takes one path: it is generated, wrapped at once under an
// [AEADKey], and unwrapped into a non-extractable handle for use. To change what
// it is wrapped under, [Engine.RewrapSecret] and [Engine.RewrapKeys] carry it
// from one ciphertext to the next. The only
// handle that a browser stores as a handle is the one made by
// [Engine.GenerateDeviceKey]; everything else is ciphertext.
//
// "Non-extractable" is a property of one handle, not of the bytes behind it:
// whoever holds an AEADKey can unwrap what it wraps. That is why the vault
// mixes in a share that does not lie beside the handles.
//
// This package must not know the vault, storage, or a request.
package keyengine

import (
	"context"
	"errors"
)

// Alg is a signature or key agreement algorithm of an application key.
type Alg string

// The algorithms of application keys, named as in the key's JWK "alg" or,
// for X25519, its "crv" (RFC 7518, RFC 8037).
const (
	ES256  Alg = "ES256"  // ECDSA on P-256 with SHA-256; signatures are r‖s, 64 bytes (RFC 7518 section 3.4)
	EdDSA  Alg = "EdDSA"  // Ed25519; signatures are 64 bytes (RFC 8032)
	X25519 Alg = "X25519" // Diffie-Hellman on Curve25519 (RFC 7748)
)

// PublicSize returns the length of an algorithm's raw public key in bytes:
// 65 for ES256 (an uncompressed point), 32 for EdDSA and X25519, 0 otherwise.
func (a Alg) PublicSize() int {
	switch a {
	case ES256:
		return 65
	case EdDSA, X25519:
		return 32
	}
	return 0
}

// Sizes in bytes.
const (
	NonceSize     = 12 // AES-GCM nonce
	TagSize       = 16 // AES-GCM tag
	SecretSize    = 32 // a secret
	SignatureSize = 64 // both signature algorithms
)

// Errors that callers branch on. Engines wrap them with what went wrong.
var (
	// ErrUnsupported means that this browser lacks the algorithm.
	ErrUnsupported = errors.New("algorithm not available here")
	// ErrOpen means that a ciphertext, its key, its nonce or its additional
	// data is not what was sealed.
	ErrOpen = errors.New("ciphertext does not open")
	// ErrPublicKey means that a public key is malformed, not on its curve, or
	// (for X25519) of small order.
	ErrPublicKey = errors.New("public key is not valid")
	// ErrHandle means that a key came from another engine, is of the wrong
	// kind, or is not the handle that was stored.
	ErrHandle = errors.New("key handle is not usable")
)

// PrivateKey is the non-extractable private half of an application key.
type PrivateKey interface {
	// Alg returns what the key does. A key does nothing else.
	Alg() Alg
}

// AEADKey is an AES-256-GCM key that seals records and wraps other keys.
type AEADKey interface{ AEAD() }

// SecretKey is 32 bytes that only derive other keys (the IKM of HKDF-SHA-256,
// RFC 5869). They are uniformly random, or of ImportSecret's caller.
type SecretKey interface{ Secret() }

// Generated is a new application key: its raw public key, and its private key
// (PKCS #8) as nonce ‖ ciphertext ‖ tag under the wrapping key.
type Generated struct {
	Public  []byte
	Wrapped []byte
}

// Signing is a signature on its way. Exactly one of its methods must be called, once.
type Signing interface {
	// Wait returns the signature, if it is made even when ctx is done, or ctx's
	// cause if that is done first.
	Wait(ctx context.Context) ([]byte, error)
	// Drop gives up on it.
	Drop()
}

// Target names a key to wrap under, and the additional data to bind.
type Target struct {
	Key AEADKey
	AAD []byte
}

// RewrapOp is one application key to take from under From to under To. Its
// algorithm does not change.
type RewrapOp struct {
	Alg      Alg
	Wrapped  []byte // by GenerateKey or RewrapKeys
	From, To Target
}

// SealOp is one message to seal with AES-256-GCM.
type SealOp struct {
	Key       AEADKey
	Nonce     [NonceSize]byte // chosen by the caller, at random, never twice for one key
	AAD       []byte
	Plaintext []byte
}

// OpenOp is one message to open. Sealed is nonce ‖ ciphertext ‖ tag.
type OpenOp struct {
	Key    AEADKey
	AAD    []byte
	Sealed []byte
}

// Check is the outcome of one known-answer test.
type Check struct {
	Name string // for instance "ES256 verify"
	Err  error  // nil if the answer was the known one; ErrUnsupported if absent here
}

// Engine makes and uses keys. All methods are safe for concurrent use, stop
// early when ctx is done, and return errors that contain no key material.
type Engine interface {
	// Algorithms returns the application-key algorithms available here.
	Algorithms(ctx context.Context) []Alg

	// GenerateKey makes an application key that every supported browser can use, and
	// wraps its private half under kek before returning. aad computes the
	// additional data to bind from the raw public key.
	GenerateKey(ctx context.Context, alg Alg, kek AEADKey, aad func(public []byte) []byte) (Generated, error)
	// UnwrapKey returns the non-extractable handle of a key that GenerateKey
	// wrapped. ErrOpen if wrapped, kek or aad is not what it was.
	UnwrapKey(ctx context.Context, alg Alg, wrapped []byte, kek AEADKey, aad []byte) (PrivateKey, error)
	// RewrapKeys wraps application keys anew and returns them in order, all or
	// none. It takes thousands; an *OpenError says which did not open. It does not
	// look into a key beyond its length, so it also carries one that
	// cannot be used here, and every byte of it.
	RewrapKeys(ctx context.Context, ops ...RewrapOp) ([][]byte, error)
	// Sign signs message with an ES256 or EdDSA key; the result has SignatureSize bytes.
	Sign(ctx context.Context, key PrivateKey, message []byte) ([]byte, error)
	// StartSign begins to do what Sign does, and returns at once. message may be
	// used again when it has.
	StartSign(key PrivateKey, message []byte) (Signing, error)
	// Verify reports whether signature is alg's signature of message by the
	// raw public key. A malformed signature is false; a malformed key is
	// ErrPublicKey, but for a y-coordinate without an x, by which nothing verifies.
	Verify(ctx context.Context, alg Alg, public, message, signature []byte) (bool, error)
	// Agree returns length bytes of HKDF-SHA-256(ikm = X25519(key, peer), salt, info).
	// ErrPublicKey if the peer's key is malformed or the shared point is zero
	// (RFC 7748 section 6.1).
	Agree(ctx context.Context, key PrivateKey, peer, salt, info []byte, length int) ([]byte, error)

	// GenerateDeviceKey makes a non-extractable AES-256-GCM handle that a
	// store can keep (see Export).
	GenerateDeviceKey(ctx context.Context) (AEADKey, error)
	// Export returns the value that a store of the same platform keeps for a
	// device key, and Import takes it back. Import returns ErrHandle unless the
	// value is a non-extractable AES-256-GCM handle with the right usages.
	Export(key AEADKey) (any, error)
	Import(value any) (AEADKey, error)

	// GenerateSecrets makes one new secret and returns it wrapped
	// (nonce ‖ ciphertext ‖ tag) under each target, in order.
	GenerateSecrets(ctx context.Context, targets ...Target) ([][]byte, error)
	// UnwrapSecret returns the non-extractable handle of a wrapped secret.
	UnwrapSecret(ctx context.Context, wrapped []byte, under Target) (SecretKey, error)
	// RewrapSecret wraps a wrapped secret anew under each target and returns
	// the results in order. ErrOpen if it does not open.
	RewrapSecret(ctx context.Context, wrapped []byte, from Target, to ...Target) ([][]byte, error)
	// ImportSecret returns the non-extractable handle of a secret that comes from
	// outside: Argon2id's output for a passphrase, a passkey's PRF, an HPKE
	// export. ikm has SecretSize bytes, which are the caller's to overwrite, and
	// are only as good as their source.
	ImportSecret(ctx context.Context, ikm []byte) (SecretKey, error)
	// DeriveAEAD derives a non-extractable AES-256-GCM key:
	// HKDF-SHA-256(ikm = secret, salt, info), 32 bytes.
	DeriveAEAD(ctx context.Context, secret SecretKey, salt, info []byte) (AEADKey, error)

	// Seal returns nonce ‖ ciphertext ‖ tag for each op, in order, in one
	// round trip to the platform.
	Seal(ctx context.Context, ops ...SealOp) ([][]byte, error)
	// Open returns the plaintext of each op, in order, in one round trip.
	// If any does not open, the error is an *OpenError that says which.
	Open(ctx context.Context, ops ...OpenOp) ([][]byte, error)

	// SelfTest runs the known-answer tests of every primitive used above.
	SelfTest(ctx context.Context) []Check
}

// OpenError says which op of Open or RewrapKeys did not open. It matches ErrOpen.
type OpenError struct {
	Index int // into the ops
}

func (e *OpenError) Error() string { return ErrOpen.Error() }

// Is makes errors.Is(err, ErrOpen) true.
func (e *OpenError) Is(target error) bool { return target == ErrOpen }
