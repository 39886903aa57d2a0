//go:build js && wasm

package webcrypto

import (
	"crypto/rand"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
)

// The handles. Fields are never changed, so they are safe to share.
type (
	privateKey struct {
		alg    keyengine.Alg
		handle js.Value
	}
	aeadKey struct {
		handle js.Value
		device bool // may be exported to a store
	}
	secretKey struct{ handle js.Value }
)

func (k *privateKey) Alg() keyengine.Alg { return k.alg }
func (*aeadKey) AEAD()                   {}
func (*secretKey) Secret()               {}

func asPrivate(key keyengine.PrivateKey) (*privateKey, error) {
	if k, ok := key.(*privateKey); ok && k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("private key is a %T: %w", key, keyengine.ErrHandle)
}

func asAEAD(key keyengine.AEADKey) (*aeadKey, error) {
	if k, ok := key.(*aeadKey); ok && k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("AEAD key is a %T: %w", key, keyengine.ErrHandle)
}

func asSecret(key keyengine.SecretKey) (*secretKey, error) {
	if k, ok := key.(*secretKey); ok && k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("secret key is a %T: %w", key, keyengine.ErrHandle)
}

// Export returns the CryptoKey of a device key, for IndexedDB to keep. Keys
// that DeriveAEAD made are refused: they rest on a secret that must not be
// replaced by a stored handle.
func (e *Engine) Export(key keyengine.AEADKey) (any, error) {
	k, err := asAEAD(key)
	if err != nil {
		return nil, err
	}
	if !k.device {
		return nil, fmt.Errorf("key is not a device key: %w", keyengine.ErrHandle)
	}
	return k.handle, nil
}

// Import takes a CryptoKey back. Whoever can write to this origin's storage
// can put another handle there, and a structured clone can be anything, so
// everything that WebCrypto tells about a handle is compared.
func (e *Engine) Import(value any) (keyengine.AEADKey, error) {
	v, ok := value.(js.Value)
	if !ok {
		return nil, fmt.Errorf("stored value is a %T: %w", value, keyengine.ErrHandle)
	}
	if v.Type() != js.TypeObject || !v.InstanceOf(e.cryptoKey) {
		return nil, fmt.Errorf("stored value is not a CryptoKey: %w", keyengine.ErrHandle)
	}
	algorithm := v.Get("algorithm")
	switch {
	case v.Get("type").String() != "secret",
		algorithm.Get("name").String() != "AES-GCM",
		algorithm.Get("length").Int() != 256:
		return nil, fmt.Errorf("stored CryptoKey is not for AES-256-GCM: %w", keyengine.ErrHandle)
	case v.Get("extractable").Bool():
		return nil, fmt.Errorf("stored CryptoKey is extractable: %w", keyengine.ErrHandle)
	case !sameUsages(v.Get("usages")):
		return nil, fmt.Errorf("stored CryptoKey has other usages: %w", keyengine.ErrHandle)
	}
	return &aeadKey{handle: v, device: true}, nil
}

// sameUsages compares with aeadUsages in any order; WebCrypto lists no usage twice.
func sameUsages(usages js.Value) bool {
	if usages.Length() != len(aeadUsages) {
		return false
	}
	for _, u := range aeadUsages {
		if !usages.Call("includes", u).Bool() {
			return false
		}
	}
	return true
}

// gcmParams returns AesGcmParams with a tag of 128 bits.
func (e *Engine) gcmParams(nonce, aad []byte) js.Value {
	p := e.createObject.Invoke(e.gcm)
	p.Set("iv", jsbridge.Bytes(nonce))
	if len(aad) > 0 {
		p.Set("additionalData", jsbridge.Bytes(aad))
	}
	return p
}

// hot holds what calls of Sign, Seal and Open pass to SubtleCrypto, made once
// and used again: every method copies its arguments before it returns.
type hot struct {
	sync.Mutex
	params        js.Value // AesGcmParams with iv and additionalData
	plain         js.Value // AesGcmParams with iv
	iv            js.Value // of both
	aad           js.Value // what params has for additionalData
	set, aadName  js.Value // Reflect.set, "additionalData"
	aadData, data jsbridge.Scratch
}

func (h *hot) init() {
	h.iv = jsbridge.Bytes(make([]byte, keyengine.NonceSize))
	h.params = js.ValueOf(map[string]any{"name": "AES-GCM", "iv": h.iv})
	h.plain = js.ValueOf(map[string]any{"name": "AES-GCM", "iv": h.iv})
	h.set = js.Global().Get("Reflect").Get("set")
	h.aadName = js.ValueOf("additionalData")
}

// gcm returns AesGcmParams that are valid until the next call; h is locked.
func (h *hot) gcm(nonce, aad []byte) js.Value {
	js.CopyBytesToJS(h.iv, nonce)
	if len(aad) == 0 {
		return h.plain
	}
	if a := h.aadData.Lend(aad); !a.Equal(h.aad) {
		h.aad = a
		h.set.Invoke(h.params, h.aadName, a)
	}
	return h.params
}

// hkdfParams returns HkdfParams.
func (e *Engine) hkdfParams(salt, info []byte) js.Value {
	p := e.createObject.Invoke(e.hkdf)
	p.Set("salt", jsbridge.Bytes(salt))
	p.Set("info", jsbridge.Bytes(info))
	return p
}

// newNonce draws 96 random bits (NIST SP 800-38D section 8.2.2). A wrapping
// key is used far fewer than 2³² times.
func newNonce() []byte {
	nonce := make([]byte, keyengine.NonceSize)
	rand.Read(nonce) // never fails
	return nonce
}

// sealed returns nonce ‖ what encrypt or wrapKey gave; size is that of the plaintext, if known.
func sealed(nonce []byte, result js.Value, size int) []byte {
	out := make([]byte, 0, keyengine.NonceSize+size+keyengine.TagSize)
	return jsbridge.AppendBytes(append(out, nonce...), result)
}
