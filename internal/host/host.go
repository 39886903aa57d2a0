//go:build js && wasm

// Package host is the worker's side of the browser: what the glue (web/worker.js)
// hands over at the start, the app's port, and the dialogs in the frame. It is
// the only Go that knows them.
//
// The glue leaves one object in the global scope, which [Run] takes and removes
// before anything else happens:
//
//	account, origin   strings; origin is event.origin of the handshake
//	share             Uint8Array of 32 bytes
//	marker            boolean
//	release           { version, commit, measurement, wasm }, said by the loader
//	inbox, outbox     Uint8Array of api.MaxMessage bytes: requests, and a message to the app, in UTF-8
//	send(length)      posts what is in the outbox
//	serve(receive)    calls receive(lengths…) when as many requests are in the inbox, one behind the
//	                  other; a negative length is one of malformations
//	ask(id, json, file)  shows a screen of the dialog; file is a Uint8Array, which is taken, or undefined
//	progress(json)    shows what is being done, in place of a screen
//	dismiss()         ends the dialog, if there is one
//	answered(answer)  calls answer(id, json, file) once the user has answered a screen: json is null's text for a no,
//	                  file a Uint8Array or undefined
//	fail(code, why)   says that the enclave cannot start
//	timings()         JSON text of milliseconds; memory() bytes of wasm memory
package host

import (
	"context"
	"crypto/rand"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"sync"
	"syscall/js"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/keyengine/webcrypto"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/indexeddb"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// databaseName is the one IndexedDB database of the enclave's origin.
const databaseName = "kms-enclave"

// openTimeout bounds the wait for storage. A browser that asks the user, or
// another tab that holds an old version open, can keep it for ever.
const openTimeout = 5 * time.Second

// Run serves the app until the worker ends. It returns only if the enclave
// cannot start at all.
func Run(ctx context.Context) error {
	boot, err := takeBoot()
	if err != nil {
		return err
	}
	engine, err := webcrypto.New()
	if err != nil {
		boot.value.Call("fail", string(api.Unsupported), err.Error())
		return fmt.Errorf("host: %w", err)
	}
	cfg := boot.config()
	cfg.Engine = engine
	cfg.Device = openDevice(ctx)
	cfg.Session = memstore.New()
	cfg.Strength = new(passphrase.Machine)
	cfg.Prompter = prompt.NewGate(newScreen(boot.value))
	serve(boot, enclave.New(ctx, cfg))
	<-ctx.Done()
	return context.Cause(ctx)
}

// boot is what the glue hands over.
type boot struct {
	value         js.Value
	inbox, outbox js.Value
	send          js.Value
	share         [32]byte

	sending sync.Mutex // guards the outbox
}

func takeBoot() (*boot, error) {
	const name = "kmsEnclaveBoot"
	global := js.Global()
	value := global.Get(name)
	global.Delete(name)
	if value.Type() != js.TypeObject {
		return nil, errors.New("host: nothing was handed over; this program runs in the enclave's worker only")
	}
	b := &boot{value: value, inbox: value.Get("inbox"), outbox: value.Get("outbox"), send: value.Get("send")}
	share := jsbridge.GoBytes(value.Get("share"))
	if len(share) != len(b.share) {
		return nil, fmt.Errorf("host: share has %d bytes, wanted %d", len(share), len(b.share))
	}
	copy(b.share[:], share)
	return b, nil
}

func (b *boot) config() enclave.Config {
	release := b.value.Get("release")
	return enclave.Config{
		Now:  time.Now,
		Rand: rand.Reader,
		Release: enclave.Release{
			Version:     release.Get("version").String(),
			Commit:      release.Get("commit").String(),
			Measurement: release.Get("measurement").String(),
			Wasm:        release.Get("wasm").String(),
		},
		Self:    js.Global().Get("origin").String(),
		Origin:  b.value.Get("origin").String(),
		Account: b.value.Get("account").String(),
		Share:   b.share,
		Marker:  b.value.Get("marker").Bool(),
		Notify:  b.post,
	}
}

// post sends one message of at most api.MaxMessage bytes to the app.
func (b *boot) post(text []byte) {
	b.sending.Lock()
	defer b.sending.Unlock()
	js.CopyBytesToJS(b.outbox, text)
	b.send.Invoke(len(text))
}

// openDevice opens the browser's storage. Where it refuses (a private window,
// lockdown mode, a newer release's database) the enclave starts all the same,
// so that session vaults work and every other call can say what is wrong.
func openDevice(ctx context.Context) store.Store {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errors.New("the browser does not answer"))
	defer cancel()
	db, err := indexeddb.Open(ctx, databaseName)
	if err == nil {
		db.KeepReserve(databaseName + "-reserve")
		return db
	}
	if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNewer) && !errors.Is(err, store.ErrFull) {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	unavailable := memstore.New()
	unavailable.Disconnect(err)
	return unavailable
}

// handler is what serve needs of an enclave.
type handler interface {
	Handle(request []byte, reply func([]byte))
}

// serve announces the enclave and passes requests on.
func serve(b *boot, h handler) {
	receive := js.FuncOf(func(_ js.Value, args []js.Value) any {
		lengths, total := make([]int, len(args)), 0
		for i := range args {
			lengths[i] = args[i].Int()
			total += max(0, lengths[i])
		}
		texts := make([]byte, total)
		js.CopyBytesToGo(texts, b.inbox)
		for _, n := range lengths {
			if n < 0 {
				b.post(malformed(malformations[-n-1]))
				continue
			}
			h.Handle(texts[:n:n], b.post)
			texts = texts[n:]
		}
		return nil
	})
	b.value.Call("serve", receive)
	b.post(ready(b.value.Call("timings").String(), b.value.Call("memory").Int()))
}

// ready is the event that the SDK waits for.
func ready(timings string, memory int) []byte {
	return fmt.Appendf(nil, `{"event":"ready","data":{"timings":%s,"memory":%d}}`, timings, memory)
}

// malformations are what web/worker.js says with the lengths -1, -2 and -3.
var malformations = []string{
	"a string wanted",
	fmt.Sprintf("at most %d bytes wanted", api.MaxMessage),
	"well-formed text wanted (no lone surrogates)",
}

// malformed answers a message that is not text, or cannot be read as such; so
// its id cannot be read, either.
func malformed(wanted string) []byte {
	message, err := jsontext.AppendQuote(nil, "message: "+wanted)
	if err != nil {
		panic(err) // malformations are ASCII
	}
	return fmt.Appendf(nil, `{"id":0,"error":{"code":%q,"message":%s,"retryable":false,"details":{"member":""}}}`, api.InvalidRequest, message)
}
