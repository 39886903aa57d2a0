package relay

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kms-enclave/kms-enclave/webpush"
)

// maxTTL is how long a message may wait, defaultTTL how long one does that does not say.
const (
	maxTTL     = 28 * 24 * time.Hour
	defaultTTL = 24 * time.Hour
)

// post is a message as it was sent to the relay.
type post struct {
	body    []byte // plaintext: it is never written anywhere
	ttl     int64
	urgency webpush.Urgency
	topic   string
	key     string // Idempotency-Key; "" for none
}

func (r *Relay) postMessage(w http.ResponseWriter, q *http.Request) error {
	_, k, err := r.authorizeFor(q, scopeSend)
	if err != nil {
		return err
	}
	p, err := parsePost(q.Header)
	if err != nil {
		return err
	}
	if p.body, err = readBody(w, q, webpush.MaxMessage); err != nil {
		return err
	}
	id, err := r.accept(q.Context(), k, p)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, struct {
		ID string `json:"id"`
	}{id})
}

// parsePost reads the headers of a message (RFC 8030 section 5).
func parsePost(h http.Header) (*post, error) {
	for _, name := range []string{"TTL", "Urgency", "Topic", "Idempotency-Key"} {
		if len(h.Values(name)) > 1 {
			return nil, errMalformed.with("%s is there more than once", name)
		}
	}
	p := &post{ttl: int64(defaultTTL / time.Second), urgency: webpush.Urgency(h.Get("Urgency")), topic: h.Get("Topic"), key: h.Get("Idempotency-Key")}
	if text := h.Get("TTL"); text != "" {
		ttl, err := strconv.ParseUint(text, 10, 31)
		if err != nil || ttl > uint64(maxTTL/time.Second) {
			return nil, errMalformed.with("TTL is not a number of seconds, at most %d", int64(maxTTL/time.Second))
		}
		p.ttl = int64(ttl)
	}
	if err := (&webpush.Request{Urgency: p.urgency, Topic: p.topic}).Check(); err != nil {
		return nil, errMalformed.with("Urgency or Topic is not one of RFC 8030")
	}
	if len(p.key) > maxIdempotency || strings.ContainsFunc(p.key, func(c rune) bool { return c <= ' ' || c > '~' }) || p.key == "" && len(h.Values("Idempotency-Key")) > 0 {
		return nil, errMalformed.with("Idempotency-Key is not 1 to %d printable ASCII characters", maxIdempotency)
	}
	return p, nil
}

// accept puts a message into the queue, once for each Idempotency-Key, and returns its id when it is on disk.
func (r *Relay) accept(ctx context.Context, k subscriptionKey, p *post) (string, error) {
	for range 10 {
		sub, err := r.subs.get(ctx, k)
		if err != nil {
			return "", err
		}
		former, err := r.former(ctx, k, p)
		if err != nil {
			return "", err
		}
		if former.answers(r.now()) {
			return former.replay(p)
		}
		if err := r.room(ctx, sub, len(p.body)); err != nil {
			return "", err
		}
		id, err := r.enqueue(ctx, k, sub, p, former)
		r.space.give(len(p.body), err == nil)
		switch {
		case errors.Is(err, errConflict): // the same key, at the same time
			continue
		case errors.Is(err, errNoSubscription):
			r.subs.forget(k)
			return "", errUnknown
		case err == nil:
			r.metrics.accepted()
		}
		return id, err
	}
	return "", errUnavailable.with("others write the same record all the time")
}

// former returns the record that a post's Idempotency-Key has, nil if none.
func (r *Relay) former(ctx context.Context, k subscriptionKey, p *post) (*message, error) {
	if p.key == "" {
		return nil, nil
	}
	record, err := r.store.last(ctx, r.store.keyFilter(k, messageKey(p.key, "")))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, errUnavailable.with("the storage does not answer")
	}
	return parseMessage(record.Header, record.Data, record.Sequence)
}

// answers reports whether a key still stands for the message that had it.
func (m *message) answers(now time.Time) bool {
	return m != nil && (now.Before(m.acceptedAt().Add(keyMemory)) || m.kind == kindQueued)
}

// replay answers a post whose key was used.
func (m *message) replay(p *post) (string, error) {
	if m.Print != fingerprint(p.key, p.ttl, p.urgency, p.topic, p.body) {
		return "", errKeyReused.with("the body, TTL, Urgency or Topic is another one")
	}
	return m.ID, nil
}

// room returns a problem unless one more message may be queued.
func (r *Relay) room(ctx context.Context, sub *subscription, body int) error {
	if sub.Gone {
		return errGone.with("register a new push subscription")
	}
	if !r.space.take(ctx, body) {
		return errFull
	}
	return nil
}

// enqueue encrypts a message and writes it.
func (r *Relay) enqueue(ctx context.Context, k subscriptionKey, sub *subscription, p *post, former *message) (string, error) {
	keys, err := webpush.NewKeys(sub.Push.P256DH, sub.Push.Auth)
	if err != nil {
		return "", err
	}
	body, err := keys.Encrypt(p.body, 0)
	if err != nil {
		return "", err
	}
	e := envelope{ID: newID(), Accepted: r.now().UnixMilli(), TTL: p.ttl, Urgency: p.urgency, Topic: p.topic, Generation: sub.generation()}
	if p.key != "" {
		e.Print = fingerprint(p.key, p.ttl, p.urgency, p.topic, p.body)
	}
	key := messageKey(p.key, e.ID)
	w := write{
		subject: r.store.messageSubject(sub.Service, k, key), body: body, expect: r.store.keyFilter(k, key),
		header: nats.Header{kindHeader: {kindQueued}, envelopeHeader: {string(mustJSON(e))}},
	}
	if former != nil {
		w.sequence = former.seq
	}
	ch := &change{key: k, writes: []write{w}, count: func(t *tally) { t.Accepted++ }, limit: r.config.Limits.Queued}
	return e.ID, r.commits.commit(ctx, ch)
}
