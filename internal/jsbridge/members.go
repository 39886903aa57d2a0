//go:build js && wasm

package jsbridge

import "syscall/js"

// A member that is looked up by its name costs the name's way into JavaScript,
// as a string, each time. The functions below look it up once. What they return
// is for [Invoke], and takes the object as its first argument.

var (
	functionCall = js.Global().Get("Function").Get("prototype").Get("call")
	bind         = functionCall.Get("bind")
	// uncurry(f) is call.bind(f): a function that takes f's this first.
	uncurry = bind.Call("bind", functionCall)
	object  = js.Global().Get("Object")
)

// Method returns class.prototype[name].
func Method(class, name string) js.Value {
	return uncurry.Invoke(prototype(class).Get(name))
}

// Getter returns the getter of an attribute of class.
func Getter(class, name string) js.Value { return getter(prototype(class), name) }

// Setter returns the setter of an attribute of class.
func Setter(class, name string) js.Value {
	return uncurry.Invoke(property(prototype(class), name).Get("set"))
}

func getter(prototype js.Value, name string) js.Value {
	return uncurry.Invoke(property(prototype, name).Get("get"))
}

func property(prototype js.Value, name string) js.Value {
	return object.Call("getOwnPropertyDescriptor", prototype, name)
}

func prototype(class string) js.Value { return js.Global().Get(class).Get("prototype") }

// Bind returns fn with its this fixed, so that [Invoke] needs no look-up by
// name: for hot paths.
func Bind(fn, this js.Value) js.Value { return fn.Call("bind", this) }
