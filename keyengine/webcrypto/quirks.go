//go:build js && wasm

package webcrypto

import (
	"fmt"
	"strings"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/keyengine"
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
