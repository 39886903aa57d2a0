package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	heartbeat      = 15 * time.Second
	eventWriteTime = 10 * time.Second
)

// eventStream is one client that listens (HTML section 9.2).
type eventStream struct {
	relay *Relay
	key   subscriptionKey
	w     http.ResponseWriter
	out   *http.ResponseController
	next  uint64 // sequence of the first record that it has not seen
	until time.Time
	wake  chan struct{}
	quiet time.Duration
}

func (r *Relay) getEvents(w http.ResponseWriter, q *http.Request) error {
	v, k, err := r.authorizeFor(q, scopeRegister)
	if err != nil {
		return err
	}
	if _, err := r.subs.get(q.Context(), k); err != nil {
		return err
	}
	from, err := r.firstEvent(q)
	if err != nil {
		return err
	}
	if err := r.streams.open(k.kid); err != nil {
		return err
	}
	defer r.streams.close(k.kid)
	e := &eventStream{relay: r, key: k, w: w, out: http.NewResponseController(w), next: from, until: v.expires, wake: make(chan struct{}, 1), quiet: r.heartbeat}
	listening, err := r.store.conn.Subscribe(r.newsSubject(newsEvent, k), func(*nats.Msg) { e.poke() })
	if err != nil {
		return errUnavailable
	}
	defer func() { _ = listening.Unsubscribe() }()
	e.begin()
	e.run(q.Context())
	return nil
}

// firstEvent is where a client left off, or the end of what there is.
func (r *Relay) firstEvent(q *http.Request) (uint64, error) {
	if text := q.Header.Get("Last-Event-ID"); text != "" {
		last, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, errMalformed.with("Last-Event-ID is not one that this relay gave")
		}
		return last + 1, nil
	}
	info, err := r.store.stream.Info(q.Context())
	if err != nil {
		return 0, errUnavailable.with("the storage does not answer")
	}
	return info.State.LastSeq + 1, nil
}

func (e *eventStream) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// begin answers the request; the server's time for reading it and for the answer does not hold here.
func (e *eventStream) begin() {
	_ = e.out.SetReadDeadline(time.Time{})
	e.w.Header().Set("Content-Type", "text/event-stream")
	e.w.Header().Set("X-Accel-Buffering", "no") // nginx would collect events
	e.w.WriteHeader(http.StatusOK)
	_ = e.send(": relay\n\n")
}

// run sends what happens until the client leaves, its token ends, the subscription is erased or the relay drains.
func (e *eventStream) run(ctx context.Context) {
	tick := time.NewTicker(e.quiet)
	defer tick.Stop()
	for {
		if e.look(ctx) != nil || e.drain(ctx) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-e.relay.ended:
			return
		case <-e.wake:
		case <-tick.C:
			if !e.relay.now().Before(e.until) || e.send(": \n\n") != nil {
				return
			}
		}
	}
}

// look ends the stream with its subscription, and notices a stash that has become low by itself.
func (e *eventStream) look(ctx context.Context) error {
	sub, err := e.relay.subs.get(ctx, e.key)
	if err != nil {
		if errors.Is(err, errUnknown) {
			return err
		}
		return nil
	}
	e.relay.callForTokens(ctx, e.key, sub)
	return nil
}

// drain sends all events that there are.
func (e *eventStream) drain(ctx context.Context) error {
	for {
		record, err := e.relay.store.next(ctx, e.next, e.relay.store.eventFilter(e.key))
		if err != nil {
			return nil // there is no more, or the storage is away: it is looked at again at the next tick
		}
		if err := e.show(record); err != nil {
			return err
		}
		e.next = record.Sequence + 1
	}
}

// show sends a record that is an event.
func (e *eventStream) show(record *jetstream.RawStreamMsg) error {
	kind := record.Header.Get(kindHeader)
	if kind != kindReceipt && kind != kindTokens {
		return nil
	}
	return e.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", record.Sequence, kind, record.Data))
}

func (e *eventStream) send(text string) error {
	if err := e.out.SetWriteDeadline(time.Now().Add(eventWriteTime)); err != nil {
		return err
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.out.Flush()
}
