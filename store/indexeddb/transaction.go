//go:build js && wasm

package indexeddb

import (
	"context"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
)

// transaction waits for the events of one IDBTransaction.
type transaction struct {
	tx        js.Value
	request   js.Value // that is listened to, or undefined
	listeners *listeners
	done      chan error
	finished  bool // done has been told; js/wasm runs one goroutine at a time

	// onSuccess runs on each success event that is listened for, inside the
	// event, where the transaction is active. It reports whether the transaction
	// has yielded all that is wanted, so that its end need not be waited for.
	onSuccess func() (enough bool, err error)
}

// listeners are the event handlers of one transaction at a time. Making them
// costs more than the requests, so they are used again.
type listeners struct {
	success, complete, abort js.Func
	of                       *transaction
}

// idle holds listeners that nothing calls any more. js/wasm runs one goroutine at a time.
var idle []*listeners

// maxIdle bounds them; so many transactions at once are rare.
const maxIdle = 16

func newListeners() *listeners {
	if n := len(idle); n > 0 {
		l := idle[n-1]
		idle = idle[:n-1]
		return l
	}
	l := &listeners{}
	event := func(handle func(*transaction)) js.Func {
		return js.FuncOf(func(js.Value, []js.Value) any {
			if l.of != nil {
				handle(l.of)
			}
			return nil
		})
	}
	l.success = event((*transaction).succeeded)
	l.complete = event(func(t *transaction) { t.finish(nil) })
	l.abort = event(func(t *transaction) { t.finish(transactionError(t.tx)) })
	return l
}

func (l *listeners) free() {
	l.of = nil
	if len(idle) < maxIdle {
		idle = append(idle, l)
		return
	}
	l.success.Release()
	l.complete.Release()
	l.abort.Release()
}

// watch begins to wait; the caller has not returned to the event loop yet.
func watch(tx js.Value) *transaction {
	t := &transaction{tx: tx, listeners: newListeners(), done: make(chan error, 1)}
	t.listeners.of = t
	idb().setComplete.Invoke(tx, t.listeners.complete)
	idb().setAbort.Invoke(tx, t.listeners.abort)
	return t
}

// listen calls onSuccess when the request succeeds; one request of a transaction only.
func (t *transaction) listen(request js.Value) {
	t.request = request
	idb().setSuccess.Invoke(request, t.listeners.success)
}

func (t *transaction) succeeded() {
	if t.finished {
		return
	}
	enough, err := t.onSuccess()
	if err != nil {
		t.abort(err)
	} else if enough {
		t.detach()
		t.finish(nil)
	}
}

// detach stops listening to the transaction's end.
func (t *transaction) detach() {
	idb().setComplete.Invoke(t.tx, js.Null())
	idb().setAbort.Invoke(t.tx, js.Null())
}

// finish reports the outcome; no event follows.
func (t *transaction) finish(err error) {
	t.finished = true
	t.listeners.free()
	t.done <- err
}

// abort gives the transaction up for a reason of ours. If the browser has begun
// to commit it or to abort it, its own event says how it ended.
func (t *transaction) abort(reason error) {
	if t.finished {
		return
	}
	if _, err := jsbridge.Invoke(idb().abort, t.tx); err == nil {
		t.detach()
		if !t.request.IsUndefined() {
			// Its success may be on its way, and must not be taken for that of
			// the transaction which has these listeners next.
			idb().setSuccess.Invoke(t.request, js.Null())
		}
		t.finish(reason)
	}
}

// wait returns the outcome. When ctx is done first the transaction is aborted if
// it still can be; if it no longer can, it may have landed.
func (t *transaction) wait(ctx context.Context) error {
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
	}
	t.abort(context.Cause(ctx))
	select {
	case err := <-t.done:
		return err
	default:
		return context.Cause(ctx)
	}
}
