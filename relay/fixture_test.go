package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

const testOrigin = "https://relay.example"

// user is an app's enclave: the one who has the key.
type user struct {
	key    *ecdsa.PrivateKey
	public []byte
	kid    string
}

func newUser(t testing.TB) *user {
	key := must.Get[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must.Get[[]byte](t)(key.PublicKey.Bytes())
	return &user{key, public, thumbprint(public)}
}

func (u *user) sign(input []byte) ([]byte, error) { return jws.SignES256(u.key, input) }

// jws signs any header and claims.
func (u *user) jws(t testing.TB, header, claims any) string {
	input := jws.Encode(must.Get[[]byte](t)(json.Marshal(header))) + "." + jws.Encode(must.Get[[]byte](t)(json.Marshal(claims)))
	return input + "." + jws.Encode(must.Get[[]byte](t)(u.sign([]byte(input))))
}

func (u *user) header() map[string]any {
	return map[string]any{"alg": "ES256", "kid": u.kid, "typ": tokenType}
}

func claimsAt(now time.Time, s scope) map[string]any {
	return map[string]any{"aud": testOrigin, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "jti": newID(), "scope": string(s)}
}

func (u *user) token(t testing.TB, s scope) string {
	return u.jws(t, u.header(), claimsAt(time.Now(), s))
}

func (u *user) vapid(t testing.TB, audience string, life time.Duration) string {
	return must.Get[string](t)(webpush.SignToken(webpush.Claims{Audience: audience, Expires: time.Now().Add(life), Subject: "mailto:" + newID()}, u.sign))
}

// pushService is a push service that checks what real ones check, and decrypts as a user agent does.
type pushService struct {
	*httptest.Server
	t         testing.TB
	mu        sync.Mutex
	receivers map[string]*webpush.Receiver // by path
	refused   map[string]bool              // tokens
	answer    func(n int, w http.ResponseWriter, q *http.Request) bool
	requests  int
	attempts  []time.Time
	got       map[string][]string // messages by path
	ttls      []string
	protocols map[string]int
	hold      chan struct{} // attempts wait for it
}

func newPushService(t testing.TB) *pushService {
	p := &pushService{t: t, receivers: map[string]*webpush.Receiver{}, refused: map[string]bool{}, got: map[string][]string{}, protocols: map[string]int{}}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.EnableHTTP2 = true
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *pushService) host() string { return strings.TrimPrefix(p.URL, "https://") }

func (p *pushService) caFile(t testing.TB) string {
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (p *pushService) serve(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	p.mu.Lock()
	p.requests++
	n, answer, hold := p.requests, p.answer, p.hold
	p.attempts = append(p.attempts, time.Now())
	p.protocols[q.Proto]++
	p.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if answer != nil && answer(n, w, q) {
		return
	}
	w.WriteHeader(p.take(q, body))
}

// take checks a request and keeps its message.
func (p *pushService) take(q *http.Request, body []byte) int {
	token, public, err := webpush.ParseAuthorization(q.Header.Get("Authorization"))
	if err != nil {
		return http.StatusUnauthorized
	}
	claims, err := webpush.VerifyToken(token, public)
	if err != nil || claims.Check(p.URL, time.Now()) != nil || !strings.HasPrefix(claims.Subject, "mailto:") {
		return http.StatusUnauthorized
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	receiver := p.receivers[q.URL.Path]
	switch {
	case p.refused[token]:
		return http.StatusForbidden
	case receiver == nil:
		return http.StatusGone
	case q.Header.Get("TTL") == "" || q.Header.Get("Content-Encoding") != "aes128gcm":
		return http.StatusBadRequest
	}
	message, err := receiver.Decrypt(body)
	if err != nil {
		return http.StatusBadRequest
	}
	p.got[q.URL.Path] = append(p.got[q.URL.Path], string(message))
	p.ttls = append(p.ttls, q.Header.Get("TTL"))
	return http.StatusCreated
}

func (p *pushService) messages(path string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got[path]...)
}

func (p *pushService) set(f func(*pushService)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// subscribe makes a push subscription, as JSON.
func (p *pushService) subscribe(t testing.TB, path string) pushSubscription {
	receiver := must.Get[*webpush.Receiver](t)(webpush.GenerateReceiver())
	p.set(func(p *pushService) { p.receivers[path] = receiver })
	var s pushSubscription
	s.Endpoint = p.URL + path
	s.Keys.P256DH, s.Keys.Auth = jws.Encode(receiver.Keys().Public()), jws.Encode(receiver.Keys().Auth())
	return s
}

// rig is a relay under test.
type rig struct {
	t      testing.TB
	config Config
	relay  *Relay
	server *httptest.Server
	log    *bytes.Buffer
}

func testConfig(t testing.TB, push *pushService) Config {
	c := Default()
	c.Origin, c.Data = testOrigin, t.TempDir()
	c.AttemptTime = Duration(2 * time.Second)
	c.DrainTime = Duration(2 * time.Second)
	c.Limits.UserRate, c.Limits.AddressRate = 1e6, 1e6
	if push != nil {
		c.Services = append(c.Services, Service{Host: push.host(), Private: true})
		c.CA = push.caFile(t)
	}
	return c
}

func newRig(t testing.TB, push *pushService, edit ...func(*Config)) *rig {
	c := testConfig(t, push)
	for _, e := range edit {
		e(&c)
	}
	g := &rig{t: t, config: c, log: new(bytes.Buffer)}
	g.open()
	t.Cleanup(g.close)
	return g
}

// lockedWriter is for a log that is read while it is written.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (g *rig) open(options ...Option) {
	g.t.Helper()
	if err := g.config.Check(); err != nil {
		g.t.Fatal(err)
	}
	g.relay = must.Get[*Relay](g.t)(Open(context.Background(), g.config, NewLog(&lockedWriter{w: g.log}, "text"), options...))
	g.server = httptest.NewServer(g.relay.Handler())
}

func (g *rig) close() {
	if g.relay == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	g.relay.Drain()
	g.server.CloseClientConnections()
	g.server.Close()
	_ = g.relay.Close(ctx)
	g.relay = nil
}

func (g *rig) restart(options ...Option) {
	g.close()
	g.open(options...)
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) problem() string {
	var p struct {
		Type string `json:"type"`
	}
	if json.Unmarshal([]byte(a.body), &p) != nil {
		return a.body
	}
	return strings.TrimPrefix(p.Type, "urn:kms-relay:")
}

func (g *rig) do(method, path, token, body string, header ...string) answer {
	g.t.Helper()
	q := must.Get[*http.Request](g.t)(http.NewRequest(method, g.server.URL+path, strings.NewReader(body)))
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		g.t.Error(err)
		return answer{}
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(text)}
}

func (g *rig) want(a answer, status int, code string) answer {
	g.t.Helper()
	if a.status != status || code != "" && a.problem() != code {
		g.t.Fatalf("got %d %s, wanted %d %s", a.status, a.body, status, code)
	}
	return a
}

func registrationBody(t testing.TB, u *user, s pushSubscription, tokens ...string) string {
	return string(must.Get[[]byte](t)(json.Marshal(registration{s, jws.Encode(u.public), tokens})))
}

// register registers a subscription with a token for an hour and one for two.
func (g *rig) register(u *user, id string, push *pushService, path string) {
	g.t.Helper()
	g.registerWith(u, id, push, path, u.vapid(g.t, push.URL, 2*time.Hour), u.vapid(g.t, push.URL, 3*time.Hour))
}

// registerWith is register with another stash, or none.
func (g *rig) registerWith(u *user, id string, push *pushService, path string, tokens ...string) {
	g.t.Helper()
	g.want(g.do("PUT", "/v1/subscriptions/"+id, u.token(g.t, scopeRegister), registrationBody(g.t, u, push.subscribe(g.t, path), tokens...)), http.StatusCreated, "")
}

// send posts a message and returns its id.
func (g *rig) send(u *user, id, message string, header ...string) string {
	g.t.Helper()
	a := g.want(g.do("POST", "/v1/subscriptions/"+id+"/messages", u.token(g.t, scopeSend), message, header...), http.StatusAccepted, "")
	var out struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.ID == "" {
		g.t.Fatalf("%s: %v", a.body, err)
	}
	return out.ID
}

func (g *rig) state(u *user, id string) publicState {
	g.t.Helper()
	a := g.want(g.do("GET", "/v1/subscriptions/"+id, u.token(g.t, scopeRegister), ""), http.StatusOK, "")
	var s publicState
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not in 20 s: %s", what)
}

// receipts reads all receipts of a subscription out of the storage.
func (g *rig) receipts(u *user, id string) map[string]receipt {
	g.t.Helper()
	all := map[string]receipt{}
	for _, record := range g.records(g.relay.store.eventFilter(subscriptionKey{u.kid, id})) {
		if record.kind != kindReceipt {
			continue
		}
		var r receipt
		if err := json.Unmarshal(record.data, &r); err != nil {
			g.t.Fatal(err)
		}
		all[r.Message] = r
	}
	return all
}

type raw struct {
	subject, kind string
	data          []byte
	header        string
}

// records reads all that a filter matches.
func (g *rig) records(filter string) (all []raw) {
	for from := uint64(1); ; {
		m, err := g.relay.store.next(context.Background(), from, filter)
		if err != nil {
			return all
		}
		all = append(all, raw{m.Subject, m.Header.Get(kindHeader), m.Data, fmt.Sprint(m.Header)})
		from = m.Sequence + 1
	}
}

// outcome waits for a message's receipt.
func (g *rig) outcome(u *user, id, message string) receipt {
	g.t.Helper()
	var r receipt
	eventually(g.t, "receipt of "+message, func() bool {
		var ok bool
		r, ok = g.receipts(u, id)[message]
		return ok
	})
	return r
}

// serverAt lets a rig speak to a relay that it did not start.
func serverAt(base string) *httptest.Server { return &httptest.Server{URL: base} }
