//go:build js && wasm

package jsbridge

import (
	"context"
	"sync"
	"syscall/js"
)

// then(p, onValue, onError) is Promise.prototype.then called on p. It throws
// unless p is a real promise, and a real promise settles exactly once, which
// is what lets waiters be used again.
var then = Method("Promise", "then")

var promiseAll = Bind(promise.Get("all"), promise)

// maxIdle bounds the waiters kept for reuse; the limit on requests at once is the same.
const maxIdle = 256

// A waiter is a pair of callbacks and the channel they report to. Making the
// callbacks costs more than the promise they wait for, hence the reuse.
type waiter struct {
	onValue, onError js.Func
	done             chan settled // capacity 1, so that a callback never blocks

	abandoned bool // nobody listens any more; guarded by idle
}

type settled struct {
	value js.Value
	err   error
}

var idle struct {
	sync.Mutex
	waiters []*waiter
}

func newWaiter() *waiter {
	idle.Lock()
	defer idle.Unlock()
	if n := len(idle.waiters); n > 0 {
		w := idle.waiters[n-1]
		idle.waiters = idle.waiters[:n-1]
		return w
	}
	w := &waiter{done: make(chan settled, 1)}
	w.onValue = js.FuncOf(func(_ js.Value, args []js.Value) any {
		w.settle(settled{value: args[0]})
		return nil
	})
	w.onError = js.FuncOf(func(_ js.Value, args []js.Value) any {
		w.settle(settled{err: ToError(args[0])})
		return nil
	})
	return w
}

func (w *waiter) settle(s settled) {
	idle.Lock()
	defer idle.Unlock()
	if w.abandoned {
		w.abandoned = false
		w.keep()
		return
	}
	w.done <- s
}

// abandon gives up on a promise that has not settled; the waiter returns to
// the idle ones when it does.
func (w *waiter) abandon() {
	idle.Lock()
	defer idle.Unlock()
	select {
	case <-w.done:
		w.keep()
	default:
		w.abandoned = true
	}
}

func (w *waiter) release() {
	idle.Lock()
	defer idle.Unlock()
	w.keep()
}

// keep must be called with idle locked.
func (w *waiter) keep() {
	if len(idle.waiters) < maxIdle {
		idle.waiters = append(idle.waiters, w)
		return
	}
	w.onValue.Release()
	w.onError.Release()
}

// Pending is a promise that is being waited for. Exactly one of Wait and Drop
// must be called, once.
type Pending struct{ w *waiter }

// Start begins to wait for a promise.
// It must not be called inside a testing/synctest bubble.
func Start(p js.Value) (Pending, error) {
	w := newWaiter()
	if _, err := Invoke(then, p, w.onValue, w.onError); err != nil {
		w.release()
		return Pending{}, err
	}
	return Pending{w}, nil
}

// Wait returns what the promise yields, if it has settled even when ctx is done.
// When ctx is done first it returns its cause; the promise goes on, and what it
// yields is dropped.
// It must not be called from a js.FuncOf callback.
func (p Pending) Wait(ctx context.Context) (js.Value, error) {
	var s settled
	select {
	case s = <-p.w.done:
	default:
		select {
		case s = <-p.w.done:
		case <-ctx.Done():
			p.w.abandon()
			return js.Undefined(), context.Cause(ctx)
		}
	}
	p.w.release()
	return s.value, s.err
}

// Drop gives up on the promise.
func (p Pending) Drop() { p.w.abandon() }

// Await is Start and Wait.
func Await(ctx context.Context, p js.Value) (js.Value, error) {
	pending, err := Start(p)
	if err != nil {
		return js.Undefined(), err
	}
	return pending.Wait(ctx)
}

// CallAwait calls a method that returns a promise, and waits for it.
func CallAwait(ctx context.Context, v js.Value, method string, args ...any) (js.Value, error) {
	p, err := Call(v, method, args...)
	if err != nil {
		return js.Undefined(), err
	}
	return Await(ctx, p)
}

// InvokeAwait calls a function that returns a promise, and waits for it.
func InvokeAwait(ctx context.Context, fn js.Value, args ...any) (js.Value, error) {
	p, err := Invoke(fn, args...)
	if err != nil {
		return js.Undefined(), err
	}
	return Await(ctx, p)
}

// All waits for several promises in one round trip (Promise.all).
func All(ctx context.Context, promises []any) (js.Value, error) {
	return InvokeAwait(ctx, promiseAll, promises)
}
