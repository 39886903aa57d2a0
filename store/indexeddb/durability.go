//go:build js && wasm

package indexeddb

import (
	"context"
	"strings"
	"syscall/js"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// askTimeout bounds the question whether storage is persistent: Firefox may wait
// for ever for a prompt that it does not show in a frame.
const askTimeout = 300 * time.Millisecond

// Durability implements [store.Store]. The browser is asked once.
func (db *DB) Durability(context.Context) store.Durability { return db.durability() }

func askDurability() store.Durability {
	if isPersistent() {
		return store.Persistent
	}
	if isWebKit(js.Global().Get("navigator")) {
		return store.BrowserSession
	}
	return store.BestEffort
}

func isPersistent() bool {
	manager := js.Global().Get("navigator").Get("storage")
	if !manager.Truthy() {
		return false
	}
	// persist() asks for the promise; the Storage standard exposes it in windows
	// only, persisted() in workers too.
	for _, method := range []string{"persist", "persisted"} {
		if manager.Get(method).Type() != js.TypeFunction {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		answer, err := jsbridge.CallAwait(ctx, manager, method)
		cancel()
		if err == nil && answer.Equal(js.ValueOf(true)) {
			return true
		}
	}
	return false
}

// isWebKit tells WebKit's engine from the others. WebKit partitions a
// third-party frame's storage and keeps it in memory only, until the browser
// quits; the enclave always runs in such a frame. No interface tells a worker
// so: storage looks the same until it is gone. So the user agent is asked,
// which every other engine with "AppleWebKit" in it also says it is. A browser
// that lies about it gets a wrong word in its status and nothing else.
func isWebKit(navigator js.Value) bool {
	agent := navigator.Get("userAgent")
	if agent.Type() != js.TypeString {
		return false
	}
	ua := agent.String()
	return strings.Contains(ua, "AppleWebKit/") && !strings.Contains(ua, "Chrome/") && !strings.Contains(ua, "Chromium/")
}
