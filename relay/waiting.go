package relay

import (
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// waiting is which messages wait for tokens, as the subjects that JetStream takes a word about them on. They are put
// back with a delay, and this makes it shorter once there are tokens; what it forgets comes back by itself.
type waiting struct {
	mu      sync.Mutex
	replies map[subscriptionKey][]string
	count   int
}

const maxWaiting = 20_000

func newWaiting() *waiting { return &waiting{replies: map[subscriptionKey][]string{}} }

func (w *waiting) add(k subscriptionKey, reply string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= maxWaiting {
		clear(w.replies)
		w.count = 0
	}
	w.replies[k] = append(w.replies[k], reply)
	w.count++
}

func (w *waiting) take(k subscriptionKey) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	replies := w.replies[k]
	delete(w.replies, k)
	w.count -= len(replies)
	return replies
}

// nak is the word that puts a message back at once, also if it was put back with a delay.
var nak = []byte("-NAK")

// release lets the messages of a subscription be tried again now.
func (r *Relay) release(k subscriptionKey) {
	for _, reply := range r.waiting.take(k) {
		_ = r.store.conn.Publish(reply, nak)
	}
}

// newsSubject is where relays tell each other, and event streams, that something of a subscription has changed.
func (r *Relay) newsSubject(what string, k subscriptionKey) string {
	return r.store.prefix + "-news." + what + "." + k.kid + "." + k.id
}

// What has changed.
const (
	newsSubscription = "sub"
	newsEvent        = "event"
)

func (r *Relay) tell(what string, k subscriptionKey) {
	_ = r.store.conn.Publish(r.newsSubject(what, k), nil)
}

// listen takes the news of all relays, this one among them.
func (r *Relay) listen() error {
	_, err := r.store.conn.Subscribe(r.newsSubject(newsSubscription, subscriptionKey{"*", "*"}), func(m *nats.Msg) {
		parts := strings.Split(m.Subject, ".")
		k := subscriptionKey{parts[len(parts)-2], parts[len(parts)-1]}
		r.subs.forget(k)
		r.lowStash.forget(k)
		r.release(k)
	})
	return err
}
