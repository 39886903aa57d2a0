//go:build js && wasm

package indexeddb

import (
	"context"
	"fmt"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
)

// opening is one open request on its way.
type opening struct {
	request js.Value
	handler js.Func
	blocked chan struct{} // closed when another page holds an older version open
	done    chan error    // nil: the request's result is a connection
}

// open opens a database of this schema's version. It can wait for ever, for
// another page that holds an older version open or because an engine forgets to
// answer; ctx bounds it.
func open(ctx context.Context, name string) (js.Value, error) {
	f, err := factory()
	if err != nil {
		return js.Undefined(), err
	}
	request, err := jsbridge.Call(f, "open", name, store.SchemaVersion)
	if err != nil {
		return js.Undefined(), platformError(err)
	}
	o := &opening{request: request, blocked: make(chan struct{}), done: make(chan error, 1)}
	o.listen()
	select {
	case err := <-o.done:
		return request.Get("result"), err
	case <-ctx.Done():
		go o.abandon()
		return js.Undefined(), o.waitedInVain(context.Cause(ctx))
	}
}

func (o *opening) listen() {
	migrated := error(nil)
	o.handler = js.FuncOf(func(_ js.Value, args []js.Value) any {
		switch args[0].Get("type").String() {
		case "upgradeneeded":
			migrated = migrate(o.request, args[0].Get("oldVersion").Int())
		case "blocked":
			close(o.blocked)
		case "success":
			o.handler.Release()
			o.done <- nil
		case "error":
			args[0].Call("preventDefault") // or Firefox reports it to the console and to onerror
			o.handler.Release()
			if migrated != nil {
				o.done <- migrated
			} else {
				o.done <- platformError(jsbridge.ToError(o.request.Get("error")))
			}
		}
		return nil
	})
	for _, event := range []string{"onupgradeneeded", "onblocked", "onsuccess", "onerror"} {
		o.request.Set(event, o.handler)
	}
}

// migrate runs inside the version change transaction, which creates or changes
// everything or nothing.
func migrate(request js.Value, from int) error {
	db := request.Get("result")
	for version := from; version < store.SchemaVersion; version++ {
		for _, step := range migrations[version] {
			if _, err := jsbridge.Call(db, "createObjectStore", step); err != nil {
				request.Get("transaction").Call("abort")
				return platformError(err)
			}
		}
	}
	return nil
}

// migrations lists the object stores that each version adds to the one before.
var migrations = [store.SchemaVersion][]js.Value{
	0: {recordStore, handleStore},
	1: nil, // headers of format 2, which older releases must not touch
	2: nil, // leases, which older releases would leave alive when they revoke a key
}

// abandon closes the connection if it is opened after all: a connection that
// nobody knows would block every later migration.
func (o *opening) abandon() {
	if err := <-o.done; err == nil {
		o.request.Get("result").Call("close")
	}
}

func (o *opening) waitedInVain(cause error) error {
	select {
	case <-o.blocked:
		return fmt.Errorf("%w: another tab holds an older version of the database open (%w)", store.ErrUnavailable, cause)
	default:
		return cause
	}
}
