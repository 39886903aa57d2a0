// Package enclavetest is the behaviour suite of the enclave. It runs under
// plain go test on keyengine/native and store/memstore, and, compiled to
// WebAssembly, in real browsers on keyengine/webcrypto and store/indexeddb.
package enclavetest

import (
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/enclave"
	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/prompt/prompttest"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/store/memstore"
)

// Platform is what the suite runs on.
type Platform struct {
	Engine keyengine.Engine
	// Open opens one more connection (a "tab") to the database of that name,
	// which is empty when the test begins.
	Open func(t *testing.T, name string) store.Store
	// ShortEdDSA: this platform refuses long messages with EdDSA, and must.
	ShortEdDSA bool
	// Memory: this platform is the standard library and memory, on which the tests run that
	// are about our own logic alone and do one thing a hundred times.
	Memory bool
}

// App is the origin that tests connect from.
const App = "https://app.example"

// Self is the enclave's own origin.
const Self = "https://enclave.example"

// Origin is one browser profile: a database and a user.
type Origin struct {
	t        *testing.T
	platform Platform
	name     string

	User   *prompttest.User
	Share  [32]byte
	Marker bool // for every account; otherwise the marker is what an SDK would have written
	Now    func() time.Time
	Wrap   func(store.Store) store.Store // around the device store, if set

	Strength passphrase.Params // of new passphrases; slots below it are raised

	mu      sync.Mutex
	markers map[string]bool // by origin and account
}

// NewOrigin returns an empty profile.
func NewOrigin(t *testing.T, p Platform) *Origin {
	o := &Origin{t: t, platform: p, User: &prompttest.User{Passkey: &prompttest.Authenticator{Origin: Self}}, Now: time.Now, Strength: passphrase.Floor, markers: map[string]bool{}}
	o.name = fmt.Sprintf("test-%s-%d", t.Name(), time.Now().UnixNano())
	_, _ = rand.Read(o.Share[:])
	return o
}

// Client is one connection of an app.
type Client struct {
	t       *testing.T
	mark    func(made bool) // as the SDK does when a device vault was made or destroyed
	session bool            // the vault is a session vault, which no marker is about
	Enclave *enclave.Enclave
	Device  store.Store
	id      int64
	mu      sync.Mutex
	events  []string
}

// Connect opens a tab as App with account "alice".
func (o *Origin) Connect() *Client { return o.ConnectAs(App, "alice") }

// ConnectAs opens a tab as any app and account.
func (o *Origin) ConnectAs(origin, account string) *Client {
	o.t.Helper()
	device := o.platform.Open(o.t, o.name)
	if o.Wrap != nil {
		device = o.Wrap(device)
	}
	app := origin + " " + account
	c := &Client{t: o.t, Device: device, mark: func(made bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.markers[app] = made
		o.Marker = o.Marker && made
	}}
	o.mu.Lock()
	marker := o.Marker || o.markers[app]
	o.mu.Unlock()
	c.Enclave = enclave.New(context.Background(), enclave.Config{
		Engine: o.platform.Engine, Device: device, Session: memstore.New(), Prompter: o.User, Strength: passphrase.Fixed(o.Strength),
		Now: o.Now, Rand: rand.Reader,
		Release: enclave.Release{Version: "1.2.3", Commit: "unknown", Measurement: "00", Wasm: "sha384-x"},
		Self:    Self,
		Origin:  origin, Account: account, Share: o.Share, Marker: marker,
		Notify: c.note,
	})
	o.t.Cleanup(c.Close)
	return c
}

func (c *Client) note(event []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, string(event))
}

// Events returns the events so far, as JSON text.
func (c *Client) Events() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.events...)
}

// Close ends the tab.
func (c *Client) Close() {
	c.Enclave.Close()
	c.Device.Close()
}

// Raw sends one request as it is and returns the reply's text.
func (c *Client) Raw(request string) string {
	done := make(chan []byte, 1)
	c.Enclave.Handle([]byte(request), func(reply []byte) { done <- reply })
	return string(<-done)
}

// Try calls a method and returns its error, if any.
func (c *Client) Try(method string, params, result any) *api.Error {
	c.t.Helper()
	c.mu.Lock()
	c.id++
	id := c.id
	c.mu.Unlock()
	if params == nil {
		params = api.None{}
	}
	text, err := json.Marshal(map[string]any{"v": 1, "id": id, "method": method, "params": params})
	if err != nil {
		c.t.Errorf("%s: %v", method, err)
		return &api.Error{Code: "test"}
	}
	var reply struct {
		ID     int64
		Result map[string]any
		Error  *api.Error
	}
	answer := c.Raw(string(text))
	if err := json.Unmarshal([]byte(answer), &reply, json.MatchCaseInsensitiveNames(true)); err != nil || reply.ID != id {
		c.t.Errorf("%s: reply %s: %v", method, answer, err)
		return &api.Error{Code: "test"}
	}
	if reply.Error != nil {
		return reply.Error
	}
	switch method {
	case "vault.create", "backup.restore":
		if c.session = reply.Result["persistence"] == "session"; !c.session {
			c.mark(true)
		}
	case "vault.destroy":
		if !c.session {
			c.mark(false)
		}
	}
	if result != nil {
		var typed struct {
			Result any `json:"result"`
		}
		typed.Result = result
		if err := json.Unmarshal([]byte(answer), &typed); err != nil {
			c.t.Errorf("%s: reply %s: %v", method, answer, err)
		}
	}
	return nil
}

// Must calls a method that has to succeed.
func (c *Client) Must(method string, params, result any) {
	c.t.Helper()
	if failure := c.Try(method, params, result); failure != nil {
		c.t.Fatalf("%s: %v (details %v)", method, failure, failure.Details)
	}
}

// Refused calls a method that has to fail with a code, and returns the error.
func (c *Client) Refused(code api.Code, method string, params any) *api.Error {
	c.t.Helper()
	failure := c.Try(method, params, nil)
	if failure == nil {
		c.t.Fatalf("%s succeeded, %s wanted", method, code)
	}
	if failure.Code != code {
		c.t.Fatalf("%s: %v, %s wanted", method, failure, code)
	}
	if failure.Message == "" || failure.Retryable != code.Retryable() {
		c.t.Errorf("%s: error %+v: no message, or retryable is wrong", method, failure)
	}
	return failure
}

// CreateVault makes a device vault.
func (c *Client) CreateVault() api.Status {
	c.t.Helper()
	var status api.Status
	c.Must("vault.create", map[string]any{"persistence": "device", "lock": "none"}, &status)
	return status
}

// CreateKey makes a key for a purpose.
func (c *Client) CreateKey(purpose, alg string) api.Key {
	c.t.Helper()
	params := map[string]any{"purpose": purpose}
	if alg != "" {
		params["alg"] = alg
	}
	var result api.KeyResult
	c.Must("keys.create", params, &result)
	return result.Key
}

// Status returns vault.status.
func (c *Client) Status() (s api.Status) {
	c.t.Helper()
	c.Must("vault.status", nil, &s)
	return s
}
