//go:build js && wasm

package webcrypto

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"syscall/js"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/enginetest"
)

func newEngine(tb testing.TB) *Engine {
	e, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) { enginetest.Test(t, newEngine(t)) }

// TestSelfTestIsQuick bounds what the self-test adds to a launch.
func TestSelfTestIsQuick(t *testing.T) {
	e := newEngine(t)
	start := time.Now()
	e.SelfTest(t.Context())
	took := time.Since(start)
	t.Logf("self-test took %v", took)
	if took > time.Second {
		t.Errorf("self-test took %v, wanted well below 100 ms on a free machine", took)
	}
}

// TestManyKeys generates enough keys to meet those that a browser cannot
// wrap or unwrap, or that another could not (see leadingByte). None may be reported
// as made.
func TestManyKeys(t *testing.T) {
	e := newEngine(t)
	kek, err := e.GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []keyengine.Alg{keyengine.EdDSA, keyengine.X25519} {
		for range 300 {
			g, err := e.GenerateKey(t.Context(), alg, kek, bytes.Clone)
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if _, err := e.UnwrapKey(t.Context(), alg, g.Wrapped, kek, g.Public); err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			der, err := e.Open(t.Context(), keyengine.OpenOp{Key: kek, AAD: g.Public, Sealed: g.Wrapped})
			if err != nil {
				t.Fatal(err)
			}
			if der[0][16] == 0 {
				t.Fatalf("%s key begins with a zero", alg)
			}
		}
	}
}

// TestLeadingByte shows keys that begin with every byte, but for those with a zero where a
// browser does not take them.
func TestLeadingByte(t *testing.T) {
	e := newEngine(t)
	for alg, header := range map[keyengine.Alg]string{ // RFC 8410 section 7
		keyengine.EdDSA:  "302e020100300506032b657004220420",
		keyengine.X25519: "302e020100300506032b656e04220420",
	} {
		prefix, err := hex.DecodeString(header)
		if err != nil {
			t.Fatal(err)
		}
		a := e.application[alg]
		for wanted := range 256 {
			der := append(append(prefix[:16:16], byte(wanted)), bytes.Repeat([]byte{0x5a}, 31)...)
			key, err := jsbridge.InvokeAwait(t.Context(), e.fn.importKey, e.formats.pkcs8, jsbridge.Bytes(der), a.key, true, a.private)
			if err != nil {
				if e.webKitGTK && wanted == 0 {
					continue
				}
				t.Fatal(err)
			}
			got, err := e.leadingByte(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			// Some browsers keep a key for X25519 clamped, or with its low bits set (RFC 7748 section 5).
			if low := byte(7); got != byte(wanted) && (alg != keyengine.X25519 || got|low != byte(wanted)|low) {
				t.Errorf("%s key begins with %d, wanted %d", alg, got, wanted)
			}
		}
	}
}

// handle is a CryptoKey to attack.
type handle struct {
	name   string
	key    js.Value
	format string // in which it would be exported, if it could be
}

// everyHandle makes one of each kind of handle that leaves this package.
func everyHandle(t *testing.T, e *Engine) (handles []handle) {
	ctx := t.Context()
	device, err := e.GenerateDeviceKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []keyengine.Alg{keyengine.ES256, keyengine.EdDSA, keyengine.X25519} {
		g, err := e.GenerateKey(ctx, alg, device, func([]byte) []byte { return nil })
		if err != nil {
			t.Fatal(err)
		}
		key, err := e.UnwrapKey(ctx, alg, g.Wrapped, device, nil)
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, handle{string(alg), key.(*privateKey).handle, "pkcs8"})
	}
	under := keyengine.Target{Key: device}
	wrapped, err := e.GenerateSecrets(ctx, under)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := e.UnwrapSecret(ctx, wrapped[0], under)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := e.DeriveAEAD(ctx, secret, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	fromOutside, err := e.ImportSecret(ctx, make([]byte, keyengine.SecretSize))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := e.Export(device)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := e.Import(stored)
	if err != nil {
		t.Fatal(err)
	}
	return append(handles,
		handle{"device", device.(*aeadKey).handle, "raw"},
		handle{"imported device", imported.(*aeadKey).handle, "raw"},
		handle{"secret", secret.(*secretKey).handle, "raw"},
		handle{"imported secret", fromOutside.(*secretKey).handle, "raw"},
		handle{"derived", derived.(*aeadKey).handle, "raw"})
}

// TestNonExtractable tries every way out of a handle, through every format.
func TestNonExtractable(t *testing.T) {
	e := newEngine(t)
	kek, err := e.GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range everyHandle(t, e) {
		t.Run(h.name, func(t *testing.T) {
			if h.key.Get("extractable").Bool() {
				t.Error("handle says extractable")
			}
			for _, format := range []string{"raw", "pkcs8", "spki", "jwk"} {
				_, err := jsbridge.InvokeAwait(t.Context(), e.fn.exportKey, format, h.key)
				refused(t, h, "exportKey", format, err)
				_, err = jsbridge.InvokeAwait(t.Context(), e.fn.wrapKey,
					format, h.key, kek.(*aeadKey).handle, e.gcmParams(newNonce(), nil))
				refused(t, h, "wrapKey", format, err)
			}
		})
	}
}

// refused wants a rejection, and in a format that the key has, the one that
// says non-extractable (InvalidAccessError; Node calls it InvalidAccessException).
// HKDF keys have no format at all.
func refused(t *testing.T, h handle, how, format string, err error) {
	t.Helper()
	name := jsbridge.ErrorName(err)
	if name == "" {
		t.Fatalf("%s %s gave the key away (%v)", how, format, err)
	}
	if (format == h.format || format == "jwk") && !strings.HasPrefix(name, "InvalidAccess") && !(strings.HasSuffix(h.name, "secret") && name == "NotSupportedError") {
		t.Errorf("%s %s: %v, wanted InvalidAccessError", how, format, err)
	}
}

// TestExportWorksOtherwise shows that TestNonExtractable would notice: the same calls on
// extractable handles succeed.
func TestExportWorksOtherwise(t *testing.T) {
	e := newEngine(t)
	kek, err := e.GenerateDeviceKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for alg, a := range e.application {
		pair, err := jsbridge.InvokeAwait(t.Context(), e.fn.generateKey, a.key, true, a.generate)
		if err != nil {
			t.Fatal(err)
		}
		key := pair.Get("privateKey")
		for _, format := range []string{"pkcs8", "jwk"} {
			if _, err := jsbridge.InvokeAwait(t.Context(), e.fn.exportKey, format, key); err != nil {
				t.Errorf("%s: exportKey %s of an extractable key: %v", alg, format, err)
			}
			if _, err := jsbridge.InvokeAwait(t.Context(), e.fn.wrapKey,
				format, key, kek.(*aeadKey).handle, e.gcmParams(newNonce(), nil)); err != nil {
				t.Errorf("%s: wrapKey %s of an extractable key: %v", alg, format, err)
			}
		}
	}
}

// TestUsages wants every handle to do its one task and nothing else.
func TestUsages(t *testing.T) {
	e := newEngine(t)
	wanted := map[string]string{
		"ES256": "[sign]", "EdDSA": "[sign]", "X25519": "[deriveBits]", "secret": "[deriveKey]", "imported secret": "[deriveKey]",
	}
	for _, h := range everyHandle(t, e) {
		list := h.key.Get("usages")
		if w, ok := wanted[h.name]; ok {
			if got := fmt.Sprintf("[%s]", list.Call("join", " ").String()); got != w {
				t.Errorf("%s has the usages %s, wanted %s", h.name, got, w)
			}
		} else if !sameUsages(list) {
			t.Errorf("%s has the usages %s", h.name, list.Call("join", " ").String())
		}
	}
}

// TestImport offers Import every CryptoKey that is not a device key, and
// objects that only look like one.
func TestImport(t *testing.T) {
	e := newEngine(t)
	generate := func(algorithm map[string]any, extractable bool, usages ...any) js.Value {
		key, err := jsbridge.InvokeAwait(t.Context(), e.fn.generateKey, js.ValueOf(algorithm), extractable, list(usages...))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	gcm256 := map[string]any{"name": "AES-GCM", "length": 256}
	good := generate(gcm256, false, "wrapKey", "decrypt", "unwrapKey", "encrypt")
	if _, err := e.Import(good); err != nil {
		t.Errorf("a good handle: %v", err)
	}
	bad := map[string]any{
		"undefined":       js.Undefined(),
		"null":            js.Null(),
		"string":          js.ValueOf("key"),
		"number":          js.ValueOf(1),
		"function":        e.cryptoKey,
		"plain object":    js.ValueOf(map[string]any{"type": "secret", "extractable": false, "usages": list(aeadUsages...), "algorithm": e.aes256}),
		"128 bits":        generate(map[string]any{"name": "AES-GCM", "length": 128}, false, aeadUsages...),
		"AES-CBC":         generate(map[string]any{"name": "AES-CBC", "length": 256}, false, aeadUsages...),
		"AES-KW":          generate(map[string]any{"name": "AES-KW", "length": 256}, false, "wrapKey", "unwrapKey"),
		"HMAC":            generate(map[string]any{"name": "HMAC", "hash": "SHA-256"}, false, "sign", "verify"),
		"extractable":     generate(gcm256, true, aeadUsages...),
		"too few usages":  generate(gcm256, false, "encrypt", "decrypt"),
		"no wrapKey":      generate(gcm256, false, "encrypt", "decrypt", "unwrapKey"),
		"a pair":          generate(map[string]any{"name": "ECDSA", "namedCurve": "P-256"}, false, "sign", "verify"),
		"a Go byte slice": make([]byte, 32),
	}
	for _, h := range everyHandle(t, e)[:3] {
		bad["private key of "+h.name] = h.key
	}
	for name, value := range bad {
		if _, err := e.Import(value); err == nil {
			t.Errorf("imported: %s", name)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []keyengine.Alg{keyengine.ES256, keyengine.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			e := newEngine(b)
			kek, _ := e.GenerateDeviceKey(b.Context())
			g, err := e.GenerateKey(b.Context(), alg, kek, func([]byte) []byte { return nil })
			if err != nil {
				b.Fatal(err)
			}
			key, err := e.UnwrapKey(b.Context(), alg, g.Wrapped, kek, nil)
			if err != nil {
				b.Fatal(err)
			}
			message := make([]byte, 300)
			b.Run("one by one", func(b *testing.B) {
				for b.Loop() {
					e.Sign(b.Context(), key, message)
				}
			})
			b.Run("pipelined", func(b *testing.B) {
				pipeline(b, func() { e.Sign(b.Context(), key, message) })
			})
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	e := newEngine(b)
	key, err := e.GenerateDeviceKey(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	op := keyengine.SealOp{Key: key, AAD: make([]byte, 40), Plaintext: make([]byte, 400)}
	for _, n := range []int{1, 4} {
		ops := make([]keyengine.SealOp, n)
		for i := range ops {
			ops[i] = op // one nonce again and again: only the time matters here
		}
		b.Run(fmt.Sprintf("%d ops", n), func(b *testing.B) {
			for b.Loop() {
				e.Seal(b.Context(), ops...)
			}
		})
	}
}

// pipeline runs f b.N times with 64 calls under way.
func pipeline(b *testing.B, f func()) {
	slots := make(chan struct{}, 64)
	for range b.N {
		slots <- struct{}{}
		go func() {
			f()
			<-slots
		}()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
