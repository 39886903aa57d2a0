//go:build js && wasm

package indexeddb

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"syscall/js"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/storetest"
)

// These tests need a browser: Node has no IndexedDB.

func TestStore(t *testing.T) {
	storetest.Test(t, storetest.Platform{
		Open: func(ctx context.Context, database string) (store.Store, error) {
			db, err := Open(ctx, database)
			if err != nil {
				return nil, err
			}
			return db, nil
		},
		NewHandle: newKey,
		Same:      sameKey,
		Destroy:   deleteDatabase,
		Upgrade:   upgrade,
	})
}

var subtle = js.Global().Get("crypto").Get("subtle")

func newKey(t *testing.T) any {
	t.Helper()
	algorithm := map[string]any{"name": "AES-GCM", "length": 256}
	key, err := jsbridge.CallAwait(t.Context(), subtle, "generateKey", algorithm, false, []any{"encrypt", "decrypt"})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sameKey reports whether one key opens what the other one has sealed.
func sameKey(t *testing.T, stored, made any) bool {
	t.Helper()
	algorithm := map[string]any{"name": "AES-GCM", "iv": jsbridge.Bytes(make([]byte, 12))}
	sealed, err := jsbridge.CallAwait(t.Context(), subtle, "encrypt", algorithm, made.(js.Value), jsbridge.Bytes([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = jsbridge.CallAwait(t.Context(), subtle, "decrypt", algorithm, stored.(js.Value), sealed)
	return err == nil && !stored.(js.Value).Get("extractable").Bool()
}

// await waits for an IDBRequest or IDBTransaction of the test's own.
func await(t *testing.T, target js.Value, good, bad string) {
	t.Helper()
	done := make(chan string, 4)
	listen := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- args[0].Get("type").String()
		return nil
	})
	defer listen.Release()
	target.Set("on"+good, listen)
	target.Set("on"+bad, listen)
	defer target.Set("on"+good, js.Null())
	defer target.Set("on"+bad, js.Null())
	select {
	case event := <-done:
		if event != good {
			t.Fatalf("%s: %s", event, target.Get("error").Get("message"))
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s event", good)
	}
}

func deleteDatabase(t *testing.T, name string) {
	t.Helper()
	await(t, js.Global().Get("indexedDB").Call("deleteDatabase", name), "success", "error")
}

// upgrade leaves the database of a newer release behind.
func upgrade(t *testing.T, name string) {
	t.Helper()
	request := js.Global().Get("indexedDB").Call("open", name, store.SchemaVersion+1)
	await(t, request, "success", "error")
	request.Get("result").Call("close")
}

const vault = "kpZ2ycWbXq1v4n0T8mN3rS5uV7wX9yZ1aB3cD5eF7gH"

var root = store.Name{Kind: "root", ID: "-"}

func openTest(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), "indexeddb-test-"+rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// plant writes any value with the raw interface, as something else of the same
// origin could.
func plant(t *testing.T, db *DB, objects js.Value, n store.Name, value any) {
	t.Helper()
	tx := db.connection.Call("transaction", objects, "readwrite")
	tx.Call("objectStore", objects).Call("put", value, makeKey(vault, n))
	await(t, tx, "complete", "abort")
}

func TestLostHandle(t *testing.T) {
	db := openTest(t)
	for _, lost := range []any{js.Null(), js.Undefined()} {
		plant(t, db, handleStore, root, lost)
		if h, err := db.Handle(t.Context(), vault, root); !errors.Is(err, store.ErrHandleLost) || h != nil {
			t.Errorf("%v: %v, %v", lost, h, err)
		}
	}
}

func TestHandleThatCannotBeCloned(t *testing.T) {
	db := openTest(t)
	err := db.Commit(t.Context(), store.Batch{
		Vault: vault, Expect: store.Record{Name: root},
		Put:     []store.Record{{Name: root, Value: []byte("1")}},
		Handles: []store.Handle{{Name: root, Value: js.Global().Get("Object")}},
	})
	if !errors.Is(err, store.ErrHandleLost) {
		t.Errorf("%v, ErrHandleLost wanted", err)
	}
	if values, err := db.Get(t.Context(), vault, root); err != nil || values[0] != nil {
		t.Errorf("the batch landed all the same: %q, %v", values, err)
	}
}

// A record that is no Uint8Array reads as empty, and matches no precondition of
// a vault.
func TestForeignValue(t *testing.T) {
	db := openTest(t)
	for _, foreign := range []any{"text", 7, js.Null(), map[string]any{"byteLength": 1}} {
		plant(t, db, recordStore, root, foreign)
		values, err := db.Get(t.Context(), vault, root)
		if err != nil || values[0] == nil || len(values[0]) != 0 {
			t.Errorf("%v: %#v, %v", foreign, values, err)
		}
		for _, expected := range [][]byte{nil, []byte("1")} {
			err = db.Commit(t.Context(), store.Batch{Vault: vault, Expect: store.Record{Name: root, Value: expected}})
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("%v: %v, ErrConflict wanted", foreign, err)
			}
		}
	}
}

// A connection that the browser has closed is opened anew, whether it said so
// or not.
func TestConnectionLost(t *testing.T) {
	db := openTest(t)
	save(t, db, "1")
	db.connection.Call("close")
	want(t, db, "1")
	db.changed(db.connection, "close", js.Undefined())
	save(t, db, "2")
	want(t, db, "2")
}

// Wherever in an operation the context ends, the operation ends, and what it
// reported is what happened: nil, landed; or its cause, and then a commit may
// have landed or not.
func TestContextEndsOperation(t *testing.T) {
	db := openTest(t)
	given := errors.New("given up")
	for i := range 40 {
		before := "before " + strconv.Itoa(i)
		save(t, db, before)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Duration(i)*100*time.Microsecond, func() { cancel(given) })
		err := db.Commit(ctx, store.Batch{Vault: vault, Expect: store.Record{Name: root, Value: []byte(before)}, Put: []store.Record{{Name: root, Value: []byte("after")}}})
		if err != nil && !errors.Is(err, given) {
			t.Error(err)
		}
		held, err2 := db.Get(t.Context(), vault, root)
		if err2 != nil {
			t.Fatal(err2)
		}
		if got := string(held[0]); got != "after" && (err == nil || got != before) {
			t.Errorf("after %v: %q", err, got)
		}
		if _, err := db.Get(ctx, vault, root); err != nil && !errors.Is(err, given) {
			t.Error(err)
		}
		cancel(nil)
	}
}

// A read that ended on its own is not ended once more by its context.
func TestContextEndsAfterRead(t *testing.T) {
	db := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := db.begin(ctx, recordStore, readOnly, relaxed)
	if err != nil {
		t.Fatal(err)
	}
	watched := watch(tx)
	watched.detach()
	watched.finish(nil)
	cancel()
	watched.abort(errors.New("late"))
	if err := watched.wait(ctx); err != nil {
		t.Error(err)
	}
}

// An open request that waits for another page says so when it gives up, and
// leaves no connection behind.
func TestBlocked(t *testing.T) {
	name := "indexeddb-test-" + rand.Text()
	older := js.Global().Get("indexedDB").Call("open", name, 1)
	await(t, older, "success", "error")
	// This database is of the current version, so a newer one has to wait.
	request := js.Global().Get("indexedDB").Call("open", name, 2)
	o := &opening{request: request, blocked: make(chan struct{}), done: make(chan error, 1)}
	o.listen()
	<-o.blocked
	if err := o.waitedInVain(context.DeadlineExceeded); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	abandoned := make(chan struct{})
	go func() { o.abandon(); close(abandoned) }()
	older.Get("result").Call("close")
	<-abandoned
	deleteDatabase(t, name)
}

func TestDurabilityIsQuick(t *testing.T) {
	db := openTest(t)
	start := time.Now()
	t.Log(db.Durability(t.Context()))
	if took := time.Since(start); took > 4*askTimeout {
		t.Errorf("asking took %v", took)
	}
}

func save(t *testing.T, db *DB, value string) {
	t.Helper()
	held, err := db.Get(t.Context(), vault, root)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Commit(t.Context(), store.Batch{Vault: vault, Expect: store.Record{Name: root, Value: held[0]}, Put: []store.Record{{Name: root, Value: []byte(value)}}})
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, db *DB, value string) {
	t.Helper()
	held, err := db.Get(t.Context(), vault, root)
	if err != nil || string(held[0]) != value {
		t.Errorf("%q, %v; %q wanted", held, err, value)
	}
}

func BenchmarkCommit(b *testing.B) {
	db, err := Open(b.Context(), "indexeddb-bench-"+rand.Text())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var held []byte
	for b.Loop() {
		next := rand.Text()
		err := db.Commit(b.Context(), store.Batch{Vault: vault, Expect: store.Record{Name: root, Value: held}, Put: []store.Record{
			{Kind: "meta", ID: next, Value: make([]byte, 200)},
			{Kind: "log", ID: next, Value: make([]byte, 300)},
			{Kind: "index", ID: next, Value: make([]byte, 1000)},
			{Name: root, Value: []byte(next)},
		}})
		if err != nil {
			b.Fatal(err)
		}
		held = []byte(next)
	}
}

func BenchmarkLock(b *testing.B) {
	db, err := Open(b.Context(), "indexeddb-bench-"+rand.Text())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		unlock, err := db.Lock(ctx, vault)
		if err != nil {
			b.Fatal(err)
		}
		unlock()
		cancel()
	}
}

func TestPlatformErrors(t *testing.T) {
	for exception, sentinel := range map[string]error{
		"QuotaExceededError": store.ErrFull,
		"VersionError":       store.ErrNewer,
		"DataCloneError":     store.ErrHandleLost,
		"InvalidStateError":  store.ErrUnavailable,
		"UnknownError":       store.ErrUnavailable,
		"SecurityError":      store.ErrUnavailable,
	} {
		err := platformError(&jsbridge.Error{Name: exception, Message: "in the browser's words"})
		if !errors.Is(err, sentinel) || jsbridge.ErrorName(err) != exception {
			t.Errorf("%s: %v", exception, err)
		}
	}
}

func TestIsWebKit(t *testing.T) {
	for agent, is := range map[string]bool{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15":                     true,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile Safari": true,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                     false,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36":             false,
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                    false,
		"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":         false,
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36 OPR/80.0.0.0": false,
	} {
		if got := isWebKit(js.ValueOf(map[string]any{"userAgent": agent})); got != is {
			t.Errorf("%s: %v", agent, got)
		}
	}
	if isWebKit(js.ValueOf(map[string]any{})) {
		t.Error("no user agent: WebKit")
	}
}

// TestLateEvents: what a transaction that was given up still has to say is neither
// heard by the next one nor by nobody at all.
func TestLateEvents(t *testing.T) {
	db, err := Open(t.Context(), "late-events")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	begin := func() (*transaction, js.Value) {
		t.Helper()
		tx, err := db.begin(t.Context(), recordStore, readOnly, relaxed)
		if err != nil {
			t.Fatal(err)
		}
		watched := watch(tx)
		request := idb().get.Invoke(idb().objectStore.Invoke(tx, recordStore), "x")
		watched.onSuccess = func() (bool, error) { return true, nil }
		watched.listen(request)
		return watched, request
	}
	old, request := begin()
	handler := request.Get("onsuccess")
	gone := errors.New("given up")
	old.abort(gone)
	if err := old.wait(t.Context()); !errors.Is(err, gone) {
		t.Errorf("given up: %v", err)
	}
	if !request.Get("onsuccess").IsNull() {
		t.Error("the request of a transaction that was given up is still listened to")
	}
	handler.Invoke() // nobody has these listeners now
	next, _ := begin()
	if next.listeners != old.listeners {
		t.Error("listeners are not used again")
	}
	if err := next.wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReserve: what is urgent gets the space that was kept back for it, nothing else
// does, and nothing else is stored before it is kept back again.
func TestReserve(t *testing.T) {
	db := openTest(t)
	db.KeepReserve(db.name + "-reserve")
	t.Cleanup(func() { deleteDatabase(t, db.name+"-reserve") })
	there := func() bool {
		t.Helper()
		r, err := Open(t.Context(), db.reserve.name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		held, err := r.Handle(t.Context(), r.name, reserveName)
		if err != nil {
			t.Fatal(err)
		}
		return held != nil && held.(js.Value).Length() == reserveSize
	}
	save(t, db, "1")
	for deadline := time.Now().Add(10 * time.Second); !there(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is kept back")
		}
	}

	// A quota that is used up, in the words of a method that has always had one.
	put := idb().put
	defer func() { idb().put = put }()
	crypto := js.Global().Get("crypto")
	full := crypto.Get("getRandomValues").Call("bind", crypto, js.Global().Get("Uint8Array").New(1<<17))
	write := func(before, after string, urgent bool) error {
		return db.Commit(t.Context(), store.Batch{Vault: vault, Expect: store.Record{Name: root, Value: []byte(before)}, Put: []store.Record{{Name: root, Value: []byte(after)}}, Urgent: urgent})
	}
	idb().put = full
	if err := write("1", "2", false); !errors.Is(err, store.ErrFull) || !there() {
		t.Errorf("what is not urgent: %v", err)
	}
	go func() {
		for !db.reserve.missing {
			time.Sleep(time.Millisecond)
		}
		idb().put = put
	}()
	if err := write("1", "2", true); err != nil || there() {
		t.Errorf("what is urgent: %v", err)
	}
	want(t, db, "2")
	idb().put = full
	if err := write("2", "3", false); !errors.Is(err, store.ErrFull) {
		t.Errorf("what is not urgent, in its space: %v", err)
	}
	want(t, db, "2")
	idb().put = put
	save(t, db, "3")
	if !there() {
		t.Error("with room again it is not kept back")
	}
}
