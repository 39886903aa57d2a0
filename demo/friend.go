package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Relay is a server that the user may allow to send notifications.
type Relay struct {
	Name   string `json:"name"`
	Origin string `json:"origin"`
}

// friendPath is where the page hands over a message for later:
//
//	POST /friend       {"url":…,"token":…,"message":…,"delaySeconds":10}   202 {"id":…}
//	POST /friend/<id>                                                      200 {"state":"waiting"} or {"state":"done","status":202}
//
// Both are POST, and so never answered by a cache.
const friendPath = "/friend"

const (
	maxDelay    = 60   // seconds
	maxWaiting  = 32   // messages
	maxKept     = 256  // outcomes
	maxRequest  = 8192 // bytes
	maxMessage  = 3993 // bytes, as at a relay
	messageTTL  = "600"
	friendLimit = 10 * time.Second // for a relay's answer
)

// friend stands for somebody else's server, which is there while the app is closed: it was given a send
// token, and posts a message to a relay with it. It posts nowhere but to the demo's relays.
type friend struct {
	relays     []Relay
	client     *http.Client
	protection *http.CrossOriginProtection

	mu      sync.Mutex
	waiting int
	posts   map[string]outcome
	order   []string // of posts, oldest first
}

// outcome is what became of a message: the relay's status, once it has answered; 0 if it could not be reached.
type outcome struct {
	State  string `json:"state"`
	Status int    `json:"status,omitzero"`
}

// handover is a message for later, and what it takes to send it.
type handover struct {
	URL          string `json:"url"`
	Token        string `json:"token"`
	Message      string `json:"message"`
	DelaySeconds int    `json:"delaySeconds"`
}

func newFriend(relays []Relay) *friend {
	return &friend{
		relays:     relays,
		protection: http.NewCrossOriginProtection(),
		posts:      map[string]outcome{},
		client: &http.Client{
			Timeout:       friendLimit,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// serve answers below friendPath. No other site's pages are answered.
func (f *friend) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "405 method not allowed: POST wanted", http.StatusMethodNotAllowed)
		return
	}
	if err := f.protection.Check(r); err != nil {
		http.Error(w, "403 asked by another origin", http.StatusForbidden)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, friendPath+"/"); ok {
		f.tell(w, id)
		return
	}
	f.take(w, r)
}

// take accepts a message for later.
func (f *friend) take(w http.ResponseWriter, r *http.Request) {
	var h handover
	if err := json.UnmarshalRead(http.MaxBytesReader(w, r.Body, maxRequest), &h, json.RejectUnknownMembers(true)); err != nil {
		http.Error(w, "400 not a message: url, token, message and delaySeconds wanted", http.StatusBadRequest)
		return
	}
	if err := f.check(&h); err != nil {
		http.Error(w, "400 "+err.Error(), http.StatusBadRequest)
		return
	}
	id, ok := f.reserve()
	if !ok {
		http.Error(w, "429 too many messages wait already", http.StatusTooManyRequests)
		return
	}
	time.AfterFunc(time.Duration(h.DelaySeconds)*time.Second, func() { f.settle(id, f.post(&h)) })
	answer(w, http.StatusAccepted, map[string]string{"id": id})
}

func (f *friend) tell(w http.ResponseWriter, id string) {
	f.mu.Lock()
	found, ok := f.posts[id]
	f.mu.Unlock()
	if !ok {
		http.Error(w, "404 no such message", http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, found)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, v) // whoever asked has gone
}

var messagesPath = regexp.MustCompile(`\A/v1/subscriptions/[A-Za-z0-9_-]{1,64}/messages\z`)

// check refuses what is not a message to one of the relays.
func (f *friend) check(h *handover) error {
	u, err := url.Parse(h.URL)
	known := err == nil && slices.ContainsFunc(f.relays, func(r Relay) bool { return h.URL == r.Origin+u.Path })
	switch {
	case !known || !messagesPath.MatchString(u.Path):
		return errors.New("url: the messages of a subscription at one of the demo's relays wanted")
	case h.Token == "" || strings.ContainsFunc(h.Token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return errors.New("token: a send token wanted")
	case h.Message == "" || len(h.Message) > maxMessage:
		return fmt.Errorf("message: got %d bytes, wanted 1 to %d", len(h.Message), maxMessage)
	case h.DelaySeconds < 0 || h.DelaySeconds > maxDelay:
		return fmt.Errorf("delaySeconds: got %d, wanted 0 to %d", h.DelaySeconds, maxDelay)
	}
	return nil
}

// reserve makes room for a message, unless too many wait; the oldest outcome goes.
func (f *friend) reserve() (id string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == maxWaiting {
		return "", false
	}
	f.waiting++
	if len(f.order) == maxKept {
		delete(f.posts, f.order[0])
		f.order = f.order[1:]
	}
	id = rand.Text()
	f.order = append(f.order, id)
	f.posts[id] = outcome{State: "waiting"}
	return id, true
}

func (f *friend) settle(id string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting--
	f.posts[id] = outcome{State: "done", Status: status}
}

// post sends a message to its relay, and returns the status of the answer: 0 if there is none.
func (f *friend) post(h *handover) int {
	ctx, cancel := context.WithTimeout(context.Background(), friendLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(h.Message))
	if err != nil {
		return 0
	}
	request.Header.Set("Authorization", "Bearer "+h.Token)
	request.Header.Set("TTL", messageTTL)
	response, err := f.client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// relaysModule is the source of /relays.js. why says why there are no relays; empty if there are.
func relaysModule(relays []Relay, why string) []byte {
	if len(relays) > 0 {
		why = ""
	} else {
		why = cmp.Or(why, "this demo was started without relays")
	}
	return fmt.Appendf(nil, `// The relays of this demo, and why there are none if there are none. Generated.
export const offered = %s;
export const without = %s;
`, literal(append([]Relay{}, relays...)), literal(why))
}
