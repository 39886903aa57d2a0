//go:build js && wasm

// Package jsbridge carries promises and bytes between Go and JavaScript.
//
// syscall/js appears here, in internal/host, in the js/wasm implementations of
// keyengine and store, and in cmd/enclave-wasm, and nowhere else.
package jsbridge

import (
	"errors"
	"fmt"
	"syscall/js"
)

var promise = js.Global().Get("Promise")

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

// Call calls a method and turns a thrown exception into an error.
func Call(v js.Value, method string, args ...any) (result js.Value, err error) {
	defer caught(&err)
	return v.Call(method, args...), nil
}

// Invoke calls a function and turns a thrown exception into an error.
func Invoke(fn js.Value, args ...any) (result js.Value, err error) {
	defer caught(&err)
	return fn.Invoke(args...), nil
}

// caught must be deferred directly.
func caught(err *error) {
	switch e := recover().(type) {
	case nil:
	case js.Error:
		*err = ToError(e.Value)
	default:
		panic(e)
	}
}
