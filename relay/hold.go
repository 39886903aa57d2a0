package relay

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kms-enclave/kms-enclave/internal/jws"
)

// holds is which push services want to be left alone, and until when (RFC 9110 section 10.2.3): by all, who are named by the
// service's origin, or by one user (see ofUser), whose flood must not keep the others' messages. They are kept, so
// that a restart does not come sooner than a service asked for, and told to the other relays of a cluster.
type holds struct {
	mu    sync.Mutex
	until map[string]time.Time
	tries map[string]int // failures in a row, for those that do not say how long
}

// ofUser names one user at a push service, by a digest: it is kept for as long as the hold, and does not say who that is, so
// that it may outlast the user's erasure.
func ofUser(origin string, k subscriptionKey) string {
	digest := sha256.Sum256([]byte(origin + " " + k.kid))
	return userMark + jws.Encode(digest[:16])
}

const userMark = "user "

// held is a hold as it is kept.
type held struct {
	Origin string `json:"origin"` // or what ofUser says
	Until  int64  `json:"until"`  // unix milliseconds
}

// Back-off where a push service does not say how long.
const (
	firstWait = time.Second
	longWait  = 5 * time.Minute
	maxHolds  = 4096
)

func newHolds() *holds { return &holds{until: map[string]time.Time{}, tries: map[string]int{}} }

// left is how long an origin is to be left alone.
func (h *holds) left(origin string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(0, h.until[origin].Sub(now))
}

// extend makes a hold longer, never shorter, and reports whether it did.
func (h *holds) extend(origin string, until time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !until.After(h.until[origin]) {
		return false
	}
	if len(h.until) >= maxHolds {
		clear(h.tries)
		for o, t := range h.until {
			if t.Before(time.Now()) {
				delete(h.until, o)
			}
		}
		if len(h.until) >= maxHolds && strings.HasPrefix(origin, userMark) {
			return false // the message itself waits
		}
	}
	h.until[origin] = until
	return true
}

// failed returns how long to wait after one more failure of a service that does not say.
func (h *holds) failed(origin string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries[origin]++
	return backOff(h.tries[origin])
}

func (h *holds) worked(origin string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tries, origin)
}

// backOff doubles from a second to five minutes, and takes off up to half of it at random, so that what failed
// together does not come back together.
func backOff(failures int) time.Duration {
	wait := min(longWait, firstWait<<min(max(failures, 1)-1, 16))
	return wait/2 + rand.N(wait/2+1)
}

// later adds jitter to a wait that must not become shorter.
func later(wait time.Duration) time.Duration { return wait + rand.N(wait/10+250*time.Millisecond) }

func (r *Relay) holdSubject(s *service, origin string) string {
	digest := sha256.Sum256([]byte(origin))
	return r.store.prefix + ".hold." + s.token + "." + jws.Encode(digest[:9])
}

// holdNews is where relays tell each other of holds.
func (r *Relay) holdNews() string { return r.store.prefix + "-news.hold" }

// hold leaves a push service alone for a time.
func (r *Relay) hold(ctx context.Context, s *service, origin string, wait time.Duration) {
	until := r.now().Add(wait)
	if !r.holds.extend(origin, until) {
		return
	}
	r.log.Warn("push service is left alone", "service", s.pattern, "seconds", int(wait/time.Second))
	body := mustJSON(held{origin, until.UnixMilli()})
	record := &nats.Msg{Subject: r.holdSubject(s, origin), Data: body, Header: nats.Header{jetstream.MsgTTLHeader: {seconds(wait + time.Second)}}}
	if _, err := r.store.js.PublishMsg(ctx, record); err != nil {
		r.log.Error("a hold is not kept", "error", err)
	}
	_ = r.store.conn.Publish(r.holdNews(), body)
}

// loadHolds reads the holds that there are, and listens for others'.
func (r *Relay) loadHolds(ctx context.Context) error {
	take := func(body []byte) {
		var h held
		if decodeStrict(body, &h) == nil {
			r.holds.extend(h.Origin, time.UnixMilli(h.Until))
		}
	}
	if _, err := r.store.conn.Subscribe(r.holdNews(), func(m *nats.Msg) { take(m.Data) }); err != nil {
		return err
	}
	for from := uint64(1); ; {
		m, err := r.store.next(ctx, from, r.store.prefix+".hold.>")
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		take(m.Data)
		from = m.Sequence + 1
	}
}
