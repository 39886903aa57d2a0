//go:build js && wasm

package webcrypto

import (
	"context"
	"fmt"
	"strings"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/keyengine/internal/form"
)

// webKitGTKMessage bounds what is signed and verified with EdDSA in WebKitGTK,
// in bytes. Shortly below 64 KiB it signs something else, or its process dies:
// a value in libgcrypt's S-expressions has a length of 16 bits. Half of that is
// well clear of it. ES256, whose message is hashed first, has no bound, and
// neither has any other engine.
const webKitGTKMessage = 32 << 10

// checkMessage refuses what would end this browser's process.
func (e *Engine) checkMessage(alg keyengine.Alg, message []byte) error {
	if e.webKitGTK && alg == keyengine.EdDSA && len(message) > webKitGTKMessage {
		return fmt.Errorf("message of %d bytes, at most %d with %s in WebKitGTK: %w", len(message), webKitGTKMessage, alg, keyengine.ErrUnsupported)
	}
	return nil
}

// isWebKitGTK asks the user agent, because nothing else tells. Safari has its
// cryptography from elsewhere. A browser that lies gets a bound it does not
// need, or none where it needs one, and harms itself.
func isWebKitGTK() bool {
	agent := js.Global().Get("navigator").Get("userAgent")
	if agent.Type() != js.TypeString {
		return false
	}
	ua := agent.String()
	return strings.Contains(ua, "AppleWebKit/") && strings.Contains(ua, "Linux") && !strings.Contains(ua, "Chrome/") && !strings.Contains(ua, "Chromium/")
}

// leadingByte returns the first byte of a new private key on Curve25519, and looks
// at no other. WebKitGTK 2.50 does not import a key of which it is zero
// (https://bugs.webkit.org/show_bug.cgi?id=307095): 1 key in 256, or 1 in 32 for
// X25519 where a browser stores those clamped. No browser may make one, or a
// vault that moves to that one has keys that cannot be used there.
//
// The key is wrapped with AES-CTR under a key of its own. PKCS #8 has 16 bytes before the
// private key (RFC 8410 section 7), so the byte is the first of the second block,
// and of the ciphertext only that byte is decrypted.
func (e *Engine) leadingByte(ctx context.Context, private js.Value) (byte, error) {
	const doing = "looking at a new key"
	key, err := jsbridge.InvokeAwait(ctx, e.fn.generateKey, e.ctr, false, e.usages.peek)
	if err != nil {
		return 0, fail(doing, err)
	}
	wrapped, err := jsbridge.InvokeAwait(ctx, e.fn.wrapKey, e.formats.pkcs8, private, key, ctrParams(0))
	if err != nil {
		return 0, fail(doing, err)
	}
	ciphertext := jsbridge.GoBytes(wrapped)
	if len(ciphertext) != form.PKCS8Size(keyengine.EdDSA) {
		return 0, nil // it has lost a zero already
	}
	first, err := jsbridge.InvokeAwait(ctx, e.fn.decrypt, ctrParams(1), key, jsbridge.Bytes(ciphertext[16:17]))
	if err != nil {
		return 0, fail(doing, err)
	}
	return jsbridge.GoBytes(first)[0], nil
}

// ctrParams returns AesCtrParams that begin with a block.
func ctrParams(block byte) js.Value {
	counter := make([]byte, 16)
	counter[15] = block
	return js.ValueOf(map[string]any{"name": "AES-CTR", "counter": jsbridge.Bytes(counter), "length": 64})
}
