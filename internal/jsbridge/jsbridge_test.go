//go:build js && wasm

package jsbridge

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall/js"
	"testing"
)

// deferred returns a promise and the functions that settle it.
func deferred() (p js.Value, resolve, reject func(any)) {
	var onYes, onNo js.Value
	executor := js.FuncOf(func(_ js.Value, args []js.Value) any {
		onYes, onNo = args[0], args[1]
		return nil
	})
	defer executor.Release()
	p = promise.New(executor)
	return p, func(v any) { onYes.Invoke(v) }, func(v any) { onNo.Invoke(v) }
}

func domError(name string) js.Value { return js.Global().Get("DOMException").New("words", name) }

func TestAwait(t *testing.T) {
	p, resolve, _ := deferred()
	resolve(7)
	if v, err := Await(t.Context(), p); err != nil || v.Int() != 7 {
		t.Errorf("got %v, %v", v, err)
	}
	p, _, reject := deferred()
	reject(domError("QuotaExceededError"))
	_, err := Await(t.Context(), p)
	if ErrorName(err) != "QuotaExceededError" || !strings.Contains(err.Error(), "words") {
		t.Errorf("error %v", err)
	}
	p, _, reject = deferred()
	reject("text")
	if _, err := Await(t.Context(), p); ErrorName(err) != "Error" || !strings.Contains(err.Error(), "text") {
		t.Errorf("error %v", err)
	}
}

// TestAwaitWantsPromise: an object that only has a then method could call back
// twice.
func TestAwaitWantsPromise(t *testing.T) {
	then := js.FuncOf(func(js.Value, []js.Value) any { return nil })
	defer then.Release()
	for _, v := range []js.Value{js.ValueOf(map[string]any{"then": then}), js.Undefined(), js.ValueOf(1)} {
		if _, err := Await(t.Context(), v); ErrorName(err) != "TypeError" {
			t.Errorf("error %v, wanted TypeError", err)
		}
	}
}

// TestAbandoned gives up on promises that settle later, and wants the callbacks
// that are used again to report nothing of them.
func TestAbandoned(t *testing.T) {
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	var late []func(any)
	for range 10 {
		p, resolve, _ := deferred()
		if _, err := Await(ctx, p); !errors.Is(err, cause) {
			t.Fatalf("error %v, wanted the cause", err)
		}
		late = append(late, resolve)
	}
	for i, resolve := range late {
		resolve("late")
		p, now, _ := deferred()
		now(i)
		if v, err := Await(t.Context(), p); err != nil || v.Int() != i {
			t.Fatalf("got %v, %v, wanted %d", v, err, i)
		}
	}
}

// TestMany has more promises under way than waiters are kept.
func TestMany(t *testing.T) {
	var wg sync.WaitGroup
	var resolves []func(any)
	for i := range 3 * maxIdle {
		p, resolve, _ := deferred()
		resolves = append(resolves, resolve)
		wg.Go(func() {
			if v, err := Await(t.Context(), p); err != nil || v.Int() != i {
				t.Errorf("got %v, %v, wanted %d", v, err, i)
			}
		})
	}
	for i, resolve := range resolves {
		resolve(i)
	}
	wg.Wait()
	if n := len(idle.waiters); n > maxIdle {
		t.Errorf("%d waiters kept, wanted at most %d", n, maxIdle)
	}
}

func TestAll(t *testing.T) {
	a, resolveA, _ := deferred()
	b, resolveB, _ := deferred()
	resolveB(2)
	resolveA(1)
	v, err := All(t.Context(), []any{a, b})
	if err != nil || v.Index(0).Int() != 1 || v.Index(1).Int() != 2 {
		t.Errorf("got %v, %v", v, err)
	}
	c, _, reject := deferred()
	reject(domError("OperationError"))
	if _, err := All(t.Context(), []any{a, c}); ErrorName(err) != "OperationError" {
		t.Errorf("error %v", err)
	}
}

func TestThrown(t *testing.T) {
	if _, err := Call(js.Global().Get("JSON"), "parse", "{"); ErrorName(err) != "SyntaxError" {
		t.Errorf("error %v, wanted SyntaxError", err)
	}
	json := js.Global().Get("JSON")
	if _, err := Invoke(Bind(json.Get("parse"), json), "{"); ErrorName(err) != "SyntaxError" {
		t.Errorf("error %v, wanted SyntaxError", err)
	}
}

func TestBytes(t *testing.T) {
	for _, b := range [][]byte{{}, {1}, bytes.Repeat([]byte{1, 2, 3}, 50_000)} {
		array := Bytes(b)
		buffer := array.Get("buffer")
		for _, v := range []js.Value{array, buffer} {
			if got := GoBytes(v); !bytes.Equal(got, b) {
				t.Errorf("%d bytes come back as %d", len(b), len(got))
			}
		}
		if got := AppendBytes([]byte("head"), buffer); !bytes.Equal(got, append([]byte("head"), b...)) {
			t.Errorf("%d bytes appended as %d", len(b), len(got)-4)
		}
	}
	part := Bytes([]byte("0123456789")).Call("subarray", 3, 6)
	if got := GoBytes(part); string(got) != "345" {
		t.Errorf("part of an array comes back as %q", got)
	}
	for _, v := range []js.Value{js.Undefined(), js.Null(), js.ValueOf("x"), part.Get("buffer")} {
		if IsBytes(v) {
			t.Errorf("%v is taken for a Uint8Array", v)
		}
	}
}

// TestScratch: what is lent has the bytes and the length that were asked for,
// also after many others.
func TestScratch(t *testing.T) {
	var s Scratch
	for round := range 3 {
		for n := range 2 * maxScratch {
			b := bytes.Repeat([]byte{byte(n + round)}, n)
			if got := GoBytes(s.Lend(b)); !bytes.Equal(got, b) {
				t.Fatalf("round %d: %d bytes lent as %d", round, n, len(got))
			}
		}
	}
	if !s.Lend([]byte{1, 2}).Equal(s.Lend([]byte{3, 4})) {
		t.Error("a length is made anew each time")
	}
}

// TestMembers compares with what a look-up by name gives.
func TestMembers(t *testing.T) {
	array := Bytes([]byte("abc"))
	buffer := array.Get("buffer")
	if got := Method("ArrayBuffer", "slice").Invoke(buffer, 1); got.Get("byteLength").Int() != 2 {
		t.Errorf("slice: %d bytes", got.Get("byteLength").Int())
	}
	if got := Getter("ArrayBuffer", "byteLength").Invoke(buffer).Int(); got != 3 {
		t.Errorf("byteLength %d", got)
	}
	controller := js.Global().Get("AbortController").New()
	handler := js.FuncOf(func(js.Value, []js.Value) any { return nil })
	defer handler.Release()
	Setter("AbortSignal", "onabort").Invoke(controller.Get("signal"), handler)
	if !controller.Get("signal").Get("onabort").Equal(handler.Value) {
		t.Error("a handler that was set is not there")
	}
}
