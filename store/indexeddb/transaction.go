//go:build js && wasm

package indexeddb

import (
	"context"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
)

// transaction waits for the events of one IDBTransaction. One js.Func serves
// them all: each crossing from JavaScript into Go costs more than reading the
// event's type.
type transaction struct {
	tx       js.Value
	handler  js.Func
	done     chan error
	finished bool // done has been told; js/wasm runs one goroutine at a time

	// onSuccess runs on each success event that is listened for, inside the
	// event, where the transaction is active. It reports whether the transaction
	// has yielded all that is wanted, so that its end need not be waited for.
	onSuccess func() (enough bool, err error)
}

// watch begins to wait; the caller has not returned to the event loop yet.
func watch(tx js.Value) *transaction {
	t := &transaction{tx: tx, done: make(chan error, 1)}
	t.handler = js.FuncOf(func(_ js.Value, args []js.Value) any {
		t.handle(args[0].Get("type").String())
		return nil
	})
	tx.Set("oncomplete", t.handler)
	tx.Set("onabort", t.handler)
	return t
}

func (t *transaction) handle(event string) {
	switch event {
	case "complete":
		t.finish(nil)
	case "abort":
		t.finish(transactionError(t.tx))
	case "success":
		enough, err := t.onSuccess()
		if err != nil {
			t.abort(err)
		} else if enough {
			t.detach()
			t.finish(nil)
		}
	}
}

// detach stops listening to the transaction's end.
func (t *transaction) detach() {
	t.tx.Set("oncomplete", js.Null())
	t.tx.Set("onabort", js.Null())
}

// finish reports the outcome; no event follows.
func (t *transaction) finish(err error) {
	t.finished = true
	t.handler.Release()
	t.done <- err
}

// abort gives the transaction up for a reason of ours. If the browser has begun
// to commit it or to abort it, its own event says how it ended.
func (t *transaction) abort(reason error) {
	if t.finished {
		return
	}
	if _, err := jsbridge.Call(t.tx, "abort"); err == nil {
		t.detach()
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
