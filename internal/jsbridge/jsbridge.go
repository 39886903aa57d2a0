//go:build js && wasm

// Package jsbridge carries promises and bytes between Go and JavaScript.
//
// syscall/js appears here, in internal/host, in the js/wasm implementations of
// keyengine and store, and in cmd/enclave-wasm, and nowhere else.
package jsbridge

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
)

var (
	uint8Array = js.Global().Get("Uint8Array")
	promise    = js.Global().Get("Promise")
)

// Error is a JavaScript exception or rejection. Name is the DOMException's
// name ("QuotaExceededError"), which is what callers branch on.
type Error struct {
	Name    string
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Name, e.Message) }

// ErrorName returns the Name of the *Error in err's tree, or "".
func ErrorName(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Name
	}
	return ""
}

// ToError turns a thrown or rejected value into an *Error.
func ToError(v js.Value) *Error {
	if v.Type() != js.TypeObject {
		return &Error{Name: "Error", Message: v.String()}
	}
	return &Error{Name: text(v.Get("name"), "Error"), Message: text(v.Get("message"), "")}
}

func text(v js.Value, otherwise string) string {
	if v.Type() == js.TypeString {
		return v.String()
	}
	return otherwise
}

// Bytes copies b into a new Uint8Array.
func Bytes(b []byte) js.Value {
	a := uint8Array.New(len(b))
	js.CopyBytesToJS(a, b)
	return a
}

// GoBytes copies a Uint8Array or an ArrayBuffer into Go memory.
func GoBytes(v js.Value) []byte {
	if !v.InstanceOf(uint8Array) {
		v = uint8Array.New(v)
	}
	b := make([]byte, v.Get("byteLength").Int())
	js.CopyBytesToGo(b, v)
	return b
}

// Call calls a method and turns a thrown exception into an error.
func Call(v js.Value, method string, args ...any) (result js.Value, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case js.Error:
			err = ToError(e.Value)
		default:
			panic(e)
		}
	}()
	return v.Call(method, args...), nil
}

type settled struct {
	value js.Value
	err   error
}

// Await waits for a promise. When ctx is done first it returns its cause; the
// promise goes on, and what it yields is dropped.
// It must not be called from a js.FuncOf callback.
func Await(ctx context.Context, p js.Value) (js.Value, error) {
	done := make(chan settled, 1)
	var onValue, onError js.Func
	release := func() {
		onValue.Release()
		onError.Release()
	}
	onValue = js.FuncOf(func(_ js.Value, args []js.Value) any {
		release()
		done <- settled{value: args[0]}
		return nil
	})
	onError = js.FuncOf(func(_ js.Value, args []js.Value) any {
		release()
		done <- settled{err: ToError(args[0])}
		return nil
	})
	p.Call("then", onValue, onError)
	select {
	case s := <-done:
		return s.value, s.err
	case <-ctx.Done():
		return js.Undefined(), context.Cause(ctx)
	}
}

// CallAwait calls a method that returns a promise, and waits for it.
func CallAwait(ctx context.Context, v js.Value, method string, args ...any) (js.Value, error) {
	p, err := Call(v, method, args...)
	if err != nil {
		return js.Undefined(), err
	}
	return Await(ctx, p)
}

// All waits for several promises in one round trip (Promise.all).
func All(ctx context.Context, promises []any) (js.Value, error) {
	return Await(ctx, promise.Call("all", promises))
}
