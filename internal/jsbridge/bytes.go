//go:build js && wasm

package jsbridge

import (
	"slices"
	"syscall/js"
)

var (
	uint8Array   = js.Global().Get("Uint8Array")
	bufferLength = Getter("ArrayBuffer", "byteLength")
	// Typed arrays share a prototype that has no name of its own.
	arrayLength = getter(object.Call("getPrototypeOf", uint8Array).Get("prototype"), "byteLength")
)

// Bytes copies b into a new Uint8Array.
func Bytes(b []byte) js.Value {
	a := uint8Array.New(len(b))
	js.CopyBytesToJS(a, b)
	return a
}

// GoBytes copies a Uint8Array or an ArrayBuffer into Go memory.
func GoBytes(v js.Value) []byte {
	if !v.InstanceOf(uint8Array) {
		return AppendBytes(nil, v)
	}
	b := make([]byte, arrayLength.Invoke(v).Int())
	js.CopyBytesToGo(b, v)
	return b
}

// IsBytes reports whether v is a Uint8Array.
func IsBytes(v js.Value) bool { return v.Type() == js.TypeObject && v.InstanceOf(uint8Array) }

// AppendBytes appends the contents of an ArrayBuffer to dst.
func AppendBytes(dst []byte, buffer js.Value) []byte {
	n := bufferLength.Invoke(buffer).Int()
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	js.CopyBytesToGo(dst[at:], uint8Array.New(buffer))
	return dst
}

// Scratch lends Uint8Arrays to functions that copy their arguments before they
// return, as all methods of SubtleCrypto do (Web Cryptography Level 2: "get a
// copy of the bytes held by"). It saves making one for each call. An array is
// valid until the next Lend of the same length; whoever shares a Scratch holds
// a lock meanwhile.
//
// What was lent last stays in the array: not for secrets.
type Scratch struct {
	arrays map[int]js.Value
}

const (
	maxScratch = 1 << 10 // bytes; longer ones are not kept
	maxLengths = 64
)

// Lend returns an array that holds b.
func (s *Scratch) Lend(b []byte) js.Value {
	if len(b) > maxScratch {
		return Bytes(b)
	}
	a, ok := s.arrays[len(b)]
	if !ok {
		if s.arrays == nil || len(s.arrays) == maxLengths {
			s.arrays = map[int]js.Value{}
		}
		a = uint8Array.New(len(b))
		s.arrays[len(b)] = a
	}
	js.CopyBytesToJS(a, b)
	return a
}
