//go:build js && wasm

package indexeddb

import (
	"context"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// lockPrefix begins the name of a vault's Web Lock.
const lockPrefix = "kms-enclave/"

// Lock implements [store.Store] with a Web Lock, which the browser gives back
// when the worker ends, however it ends.
func (db *DB) Lock(ctx context.Context, vault string) (unlock func(), err error) {
	if err := store.CheckVault(vault); err != nil {
		return nil, err
	}
	if _, err := db.current(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return request(ctx, lockPrefix+vault)
}

// request asks for a lock. The lock is held as long as the promise that the
// granted callback returns is pending.
func request(ctx context.Context, name string) (unlock func(), err error) {
	locks := js.Global().Get("navigator").Get("locks")
	if !locks.Truthy() {
		return nil, fmt.Errorf("%w: this browser offers no Web Locks here", store.ErrUnavailable)
	}
	held := js.Global().Get("Promise").Call("withResolvers")
	controller := js.Global().Get("AbortController").New()

	answer := make(chan error, 1)
	var granted, refused js.Func
	granted = js.FuncOf(func(js.Value, []js.Value) any {
		answer <- nil
		return held.Get("promise")
	})
	refused = js.FuncOf(func(_ js.Value, args []js.Value) any {
		answer <- platformError(jsbridge.ToError(args[0]))
		return nil
	})
	// The settled request needs neither function any more.
	release := func() { granted.Release(); refused.Release() }
	options := map[string]any{"signal": controller.Get("signal")}
	settled, err := jsbridge.Call(locks, "request", name, options, granted)
	if err != nil {
		release()
		return nil, platformError(err)
	}
	settled.Call("catch", refused)

	select {
	case err := <-answer:
		if err != nil {
			release()
			return nil, err
		}
		return sync.OnceFunc(func() { held.Call("resolve"); release() }), nil
	case <-ctx.Done():
		// Whichever came first, a grant or the abort, ends here: a lock granted
		// now is given back at once, because its promise is resolved already.
		held.Call("resolve")
		controller.Call("abort")
		go func() { <-answer; release() }()
		return nil, context.Cause(ctx)
	}
}
