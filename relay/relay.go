// Package relay sends push messages for apps that are closed: the server behind enclave relay.
//
// It never holds a key. Apps bring a stash of VAPID tokens (RFC 8292), which are good for a day at most,
// and the public half of a P-256 key that exists for this relay only. That key is the user: kid is
// its RFC 7638 thumbprint, and its signature under a relay token is the only account there is.
//
// # Tokens
//
// A relay token is a JWS in compact form, ES256, sent as "Authorization: Bearer":
//
//	{"alg":"ES256","kid":"<kid>","typ":"kms-relay+jwt"}
//	{"aud":"https://relay.example","exp":1790000000,"iat":1789999100,"jti":"<22 characters>","scope":"send","sub":"inbox"}
//
// aud is this relay's origin. Scope register is for everything but sending. sub binds it to one
// subscription; without sub it is good for all of the user's. It is a bearer token: it may be used again until exp.
//
// # Requests
//
//	PUT    /v1/subscriptions/{id}           register: a push subscription, the public key, and tokens
//	GET    /v1/subscriptions/{id}           register: its state
//	PUT    /v1/subscriptions/{id}/tokens    register: another stash
//	POST   /v1/subscriptions/{id}/messages  send: a message of at most 3993 bytes; 202 means on disk
//	GET    /v1/subscriptions/{id}/events    register: receipts and calls for tokens, as text/event-stream
//	DELETE /v1/subscriptions/{id}           register: forget it
//	DELETE /v1/user                         register, without sub: forget all of this user
//	GET    /healthz, /readyz, /metrics
//
// Errors are application/problem+json (RFC 9457) with a type of the form urn:kms-relay:<code>; problem.go
// lists them all.
//
// # What is kept
//
// One stream of NATS JetStream holds everything; storage.go has its subjects. A message is
// encrypted for its subscription (RFC 8291) before it is written, so no plaintext is ever stored. Its record
// lies under a subject that its Idempotency-Key gives, and the receipt takes the record's place: so one
// subject says, at any time, whether a key was used and what became of the message. Delivery is at least once: what
// is attempted again is what was in flight at a crash, or what a push service did not answer in time, and nothing that has a receipt.
// The order of messages is not kept, not even of those with one Topic.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Relay is one running relay. Several may share a cluster of NATS.
type Relay struct {
	config    Config
	log       *slog.Logger
	now       func() time.Time
	store     *store
	commits   *committer
	subs      *subscriptions
	services  []*service
	holds     *holds
	waiting   *waiting
	lowStash  *lowStash
	limits    *limits
	space     *space
	heartbeat time.Duration
	metrics   *metrics
	streams   *streams

	draining atomic.Bool
	ended    chan struct{} // closed when the relay drains: ends event streams
	attempts sync.WaitGroup
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// Option changes what tests have to change.
type Option func(*Relay)

// WithClock sets the clock by which tokens and messages expire. What NATS waits for goes by its own.
func WithClock(now func() time.Time) Option { return func(r *Relay) { r.now = now } }

// Open opens the storage and begins to send what is queued. The configuration must have passed Check.
func Open(ctx context.Context, c Config, log *slog.Logger, options ...Option) (*Relay, error) {
	r := &Relay{config: c, log: log, now: time.Now, heartbeat: heartbeat, ended: make(chan struct{})}
	for _, option := range options {
		option(r)
	}
	var err error
	if r.services, err = newServices(c); err != nil {
		return nil, err
	}
	if r.store, err = openStore(ctx, c, log); err != nil {
		return nil, err
	}
	r.streams = newStreams(c.Limits)
	r.metrics = newMetrics(r)
	r.commits = newCommitter(r.store, r.metrics)
	r.subs = newSubscriptions(r.store, r.commits)
	r.holds, r.waiting, r.lowStash = newHolds(), newWaiting(), newLowStash()
	r.limits, r.space = newLimits(c.Limits), newSpace(r.store, c.MaxStore)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.running.Go(func() { r.commits.run(running) })
	if err := r.startDelivery(ctx, running); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

// Handler serves the requests above.
func (r *Relay) Handler() http.Handler { return r.routes() }

// Drain makes the relay not ready, ends event streams and takes no message out of the queue any more.
func (r *Relay) Drain() {
	if r.draining.CompareAndSwap(false, true) {
		close(r.ended)
		for _, s := range r.services {
			s.stopPulling()
		}
	}
}

// Close drains, lets attempts in flight come to their end as long as ctx allows, and closes the storage. What
// has not ended is attempted again by whoever opens it next. No request may run any more.
func (r *Relay) Close(ctx context.Context) error {
	r.Drain()
	finished := make(chan struct{})
	go func() {
		r.attempts.Wait()
		close(finished)
	}()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = errors.New("relay: attempts in flight did not end in time; they will be repeated")
	}
	r.stop()
	r.running.Wait()
	r.store.close()
	return err
}
