package relay

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Bounds of requests, in bytes.
const (
	maxJSON         = 64 << 10
	maxRequestHead  = 16 << 10
	maxIdempotency  = 64
	headTime        = 5 * time.Second  // for a request's head
	requestReadTime = 20 * time.Second // for all of a request
	answerTime      = 60 * time.Second
	idleTime        = 2 * time.Minute
)

// handler answers a request, or says what is wrong with it.
type handler func(w http.ResponseWriter, q *http.Request) error

// routes is every request that the relay takes.
func (r *Relay) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, methods := range map[string]map[string]handler{
		"/v1/subscriptions/{id}":          {"PUT": r.putSubscription, "GET": r.getSubscription, "DELETE": r.deleteSubscription},
		"/v1/subscriptions/{id}/tokens":   {"PUT": r.putTokens},
		"/v1/subscriptions/{id}/messages": {"POST": r.postMessage},
		"/v1/subscriptions/{id}/events":   {"GET": r.getEvents},
		"/v1/user":                        {"DELETE": r.deleteUser},
	} {
		mux.Handle(pattern, r.forClients(pattern, methods))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", r.getReady)
	mux.Handle("GET /metrics", r.metrics.handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { errNoResource.write(w) })
	return mux
}

// forClients is what all requests of /v1 have in common: CORS, limits by address, problems.
func (r *Relay) forClients(pattern string, methods map[string]handler) http.Handler {
	allowed := "OPTIONS"
	for _, method := range []string{"DELETE", "GET", "POST", "PUT"} {
		if methods[method] != nil {
			allowed = method + ", " + allowed
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		started := time.Now()
		recorded := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		r.answer(recorded, q, methods, allowed)
		r.metrics.request(pattern, methods[q.Method] != nil, q.Method, recorded.status, time.Since(started))
	})
}

func (r *Relay) answer(w http.ResponseWriter, q *http.Request, methods map[string]handler, allowed string) {
	cors(w.Header())
	if q.Method == http.MethodOptions {
		preflight(w, allowed)
		return
	}
	handle := methods[q.Method]
	if handle == nil {
		w.Header().Set("Allow", allowed)
		handle = func(http.ResponseWriter, *http.Request) error { return errMethod }
	}
	err := r.limits.addresses.take(r.clientAddress(q))
	if err == nil && r.draining.Load() {
		err = errUnavailable.with("the relay is ending")
	}
	if err == nil {
		err = handle(w, q)
	}
	if err != nil {
		r.fail(w, q, err)
	}
}

// fail answers with a problem. What is not one of them is logged, and told as unavailable.
func (r *Relay) fail(w http.ResponseWriter, q *http.Request, err error) {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		r.log.Error("request", "method", q.Method, "error", err)
		p = errUnavailable
	}
	r.metrics.problem(p.code)
	p.write(w)
}

// cors lets apps of every origin in: there are no cookies, only tokens.
func cors(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func preflight(w http.ResponseWriter, allowed string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", allowed)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, TTL, Urgency, Topic, Idempotency-Key, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// statusRecorder remembers the status for the metrics.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is below.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// subscriptionID returns the id in the path.
func subscriptionID(q *http.Request) (string, error) {
	id := q.PathValue("id")
	if !isSubscriptionID(id) {
		return "", errMalformed.with("the subscription's id is not 1 to 64 characters of base64url")
	}
	return id, nil
}

// authorize verifies a request's token under the key that its user has registered, and counts the request.
func (r *Relay) authorize(q *http.Request, id string) (verified, error) {
	token, err := bearer(q.Header)
	if err != nil {
		return verified{}, err
	}
	public, err := r.subs.publicKey(q.Context(), subscriptionKey{token.kid, id})
	if err != nil {
		return verified{}, err
	}
	return r.verify(token, public)
}

func (r *Relay) verify(token claimed, public []byte) (verified, error) {
	v, err := token.verify(public, r.config.Origin, r.now())
	if err != nil {
		return verified{}, err
	}
	// Whoever may only send must not use up what its user needs to forget or to restock.
	return v, r.limits.users.take(string(v.scope) + " " + v.kid)
}

// authorizeFor is authorize for a scope and the subscription in the path.
func (r *Relay) authorizeFor(q *http.Request, s scope) (verified, subscriptionKey, error) {
	id, err := subscriptionID(q)
	if err != nil {
		return verified{}, subscriptionKey{}, err
	}
	v, err := r.authorize(q, id)
	if err != nil {
		return verified{}, subscriptionKey{}, err
	}
	return v, subscriptionKey{v.kid, id}, v.allows(s, id)
}

// readBody reads a body of at most limit bytes.
func readBody(w http.ResponseWriter, q *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errTooLarge.with("at most %d bytes", limit)
	}
	if err != nil {
		return nil, errMalformed.with("the body did not arrive")
	}
	return body, nil
}

// readJSON reads a body that has exactly the members of a type.
func readJSON(w http.ResponseWriter, q *http.Request, into any) error {
	body, err := readBody(w, q, maxJSON)
	if err != nil {
		return err
	}
	if err := decodeStrict(body, into); err != nil {
		return errMalformed.with("the body is not the JSON that is wanted here")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body := mustJSON(v)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// getReady says whether requests may come: the storage answers and takes what is written, and the relay is not ending. A
// stream whose disk was full takes nothing until the server is started again, and answers as ever.
func (r *Relay) getReady(w http.ResponseWriter, q *http.Request) {
	if r.draining.Load() {
		errUnavailable.with("the relay is ending").write(w)
		return
	}
	_, err := r.store.bytes(q.Context())
	if err == nil && r.commits.failing.Load() {
		err = r.store.writable(q.Context())
		r.commits.failing.Store(err != nil)
	}
	if err != nil {
		errUnavailable.with("the storage does not answer").write(w)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}
