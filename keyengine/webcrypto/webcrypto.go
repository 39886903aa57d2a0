//go:build js && wasm

// Package webcrypto implements [keyengine.Engine] over the Web Cryptography
// API (W3C Web Cryptography Level 2). Its keys are CryptoKey handles whose
// bytes JavaScript cannot read.
//
// # Where key bytes are
//
// Private and secret keys are never exported: no code here calls exportKey on
// anything but a public key. An application key or a secret is generated
// extractable, because wrapKey demands it, inside the one call that wraps it;
// that first handle is dropped when the call returns, and one byte of a key on
// Curve25519 is looked at (see leadingByte). [Engine.RewrapSecret] and
// [Engine.RewrapKeys] unwrap as extractable for the same reason and as briefly;
// of many keys at most 250 at once. Every handle that leaves
// this package is non-extractable.
//
// Two kinds of value do pass through the memory of the WebAssembly module:
//
//   - the Diffie-Hellman value of [Engine.Agree], which has to be compared with
//     zero (RFC 7748 section 6.1) and whose HKDF output is asked for as bytes;
//   - what [Engine.ImportSecret] is given. WebCrypto has no Argon2id and no HPKE,
//     and a passkey's PRF comes as bytes. Whoever sees them can
//     derive the key that they wrap other keys under.
//
// The copies that this package makes are overwritten when done, but neither Go nor JavaScript
// promises to leave no other.
//
// # Which handles may be stored
//
// Only AES-GCM handles made by GenerateDeviceKey. Handles on Curve25519 must
// never be put into IndexedDB, because WebKit does not bring them back.
//
// # Round trips
//
// Every settled promise costs a turn of the event loop and an entry into Go, so
// Sign is one await, and Seal and Open are one await for any number of ops.
// Functions and algorithm parameters that do not change are looked up once.
package webcrypto

import (
	"context"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
)

// Engine implements [keyengine.Engine].
type Engine struct {
	fn methods

	cryptoKey    js.Value // the constructor, for instanceof
	createObject js.Value // Object.create

	gcm         js.Value // prototype of AES-GCM parameters
	hkdf        js.Value // prototype of HKDF parameters
	x25519      js.Value // prototype of X25519 parameters
	aes256      js.Value // {name: "AES-GCM", length: 256}
	hmac        js.Value // {name: "HMAC", hash: "SHA-256"}; see RewrapKeys
	ctr         js.Value // {name: "AES-CTR", length: 256}; see leadingByte
	application map[keyengine.Alg]application

	formats formats
	usages  usages

	hot       hot
	webKitGTK bool // see checkMessage

	mu        sync.Mutex
	available []keyengine.Alg // nil until asked; guarded by mu
}

var _ keyengine.Engine = (*Engine)(nil)

// methods holds the methods of SubtleCrypto, bound to it.
type methods struct {
	encrypt, decrypt, sign, verify, digest js.Value
	generateKey, deriveKey, deriveBits     js.Value
	importKey, exportKey                   js.Value
	wrapKey, unwrapKey                     js.Value
}

type formats struct{ raw, pkcs8 js.Value }

// usages are the lists of KeyUsage that handles are given.
type usages struct{ none, aead, encrypt, deriveKey, sign, verify, peek js.Value }

// application is what WebCrypto needs to know about an application key's algorithm.
type application struct {
	key      js.Value // parameters to generate and import
	sign     js.Value // parameters to sign and verify; undefined for X25519
	generate js.Value // usages of both halves
	private  js.Value // usages of the private half
}

// New returns an engine, or ErrUnsupported where there is no WebCrypto, as in
// a page that is not a secure context.
func New() (*Engine, error) {
	global := js.Global()
	api := global.Get("crypto")
	if !api.Truthy() || !api.Get("subtle").Truthy() {
		return nil, fmt.Errorf("crypto.subtle is missing: %w", keyengine.ErrUnsupported)
	}
	object := global.Get("Object")
	e := &Engine{
		fn:           bindSubtle(api.Get("subtle")),
		cryptoKey:    global.Get("CryptoKey"),
		createObject: jsbridge.Bind(object.Get("create"), object),
		gcm:          js.ValueOf(map[string]any{"name": "AES-GCM"}),
		hkdf:         js.ValueOf(map[string]any{"name": "HKDF", "hash": "SHA-256"}),
		x25519:       js.ValueOf(map[string]any{"name": "X25519"}),
		aes256:       js.ValueOf(map[string]any{"name": "AES-GCM", "length": 256}),
		hmac:         js.ValueOf(map[string]any{"name": "HMAC", "hash": "SHA-256"}),
		ctr:          js.ValueOf(map[string]any{"name": "AES-CTR", "length": 256}),
		formats:      formats{raw: js.ValueOf("raw"), pkcs8: js.ValueOf("pkcs8")},
		usages: usages{
			none:      list(),
			aead:      list(aeadUsages...),
			encrypt:   list("encrypt"),
			deriveKey: list("deriveKey"),
			sign:      list("sign"),
			verify:    list("verify"),
			peek:      list("wrapKey", "decrypt"),
		},
		webKitGTK: isWebKitGTK(),
	}
	e.hot.init()
	ed25519 := js.ValueOf(map[string]any{"name": "Ed25519"})
	e.application = map[keyengine.Alg]application{
		keyengine.ES256: {
			key:      js.ValueOf(map[string]any{"name": "ECDSA", "namedCurve": "P-256"}),
			sign:     js.ValueOf(map[string]any{"name": "ECDSA", "hash": "SHA-256"}),
			generate: list("sign", "verify"),
			private:  list("sign"),
		},
		keyengine.EdDSA:  {key: ed25519, sign: ed25519, generate: list("sign", "verify"), private: list("sign")},
		keyengine.X25519: {key: e.x25519, generate: list("deriveBits"), private: list("deriveBits")},
	}
	return e, nil
}

// aeadUsages are what an AEADKey can do; Import demands exactly these.
var aeadUsages = []any{"encrypt", "decrypt", "wrapKey", "unwrapKey"}

func list(values ...any) js.Value { return js.ValueOf(values) }

func bindSubtle(s js.Value) methods {
	bind := func(method string) js.Value { return jsbridge.Bind(s.Get(method), s) }
	return methods{
		encrypt: bind("encrypt"), decrypt: bind("decrypt"),
		sign: bind("sign"), verify: bind("verify"), digest: bind("digest"),
		generateKey: bind("generateKey"), deriveKey: bind("deriveKey"), deriveBits: bind("deriveBits"),
		importKey: bind("importKey"), exportKey: bind("exportKey"),
		wrapKey: bind("wrapKey"), unwrapKey: bind("unwrapKey"),
	}
}

// Algorithms asks the browser once, by generating a key of each kind; ES256 is
// in every browser that has WebCrypto.
func (e *Engine) Algorithms(ctx context.Context) []keyengine.Alg {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.available != nil {
		return append([]keyengine.Alg(nil), e.available...)
	}
	found := []keyengine.Alg{keyengine.ES256}
	for _, alg := range []keyengine.Alg{keyengine.EdDSA, keyengine.X25519} {
		a := e.application[alg]
		_, err := jsbridge.InvokeAwait(ctx, e.fn.generateKey, a.key, false, a.generate)
		// Only "no such algorithm" counts: WebKitGTK fails now and then (see GenerateKey).
		if jsbridge.ErrorName(err) != "NotSupportedError" {
			found = append(found, alg)
		}
		if ctx.Err() != nil {
			return found // what is not known yet is asked again
		}
	}
	e.available = found
	return append([]keyengine.Alg(nil), found...)
}

// done returns the cause if ctx is done.
func done(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// fail says what could not be done. The browser's own words name no key.
func fail(what string, err error) error {
	if jsbridge.ErrorName(err) == "NotSupportedError" {
		return fmt.Errorf("%s: %w: %w", what, keyengine.ErrUnsupported, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// failOpen is fail for decrypt and unwrapKey. They throw OperationError if the
// tag does not match, and DataError or SyntaxError if what was sealed is not
// the key it is taken for.
func failOpen(what string, err error) error {
	switch jsbridge.ErrorName(err) {
	case "OperationError", "DataError", "SyntaxError":
		return fmt.Errorf("%s: %w", what, keyengine.ErrOpen)
	}
	return fail(what, err)
}

// failPublic is fail for importing a public key and computing with it.
func failPublic(alg keyengine.Alg, err error) error {
	switch jsbridge.ErrorName(err) {
	case "OperationError", "DataError", "SyntaxError":
		return fmt.Errorf("%s public key: %w", alg, keyengine.ErrPublicKey)
	}
	return fail(fmt.Sprintf("%s public key", alg), err)
}
