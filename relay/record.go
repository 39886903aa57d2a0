package relay

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// subscriptionKey names a subscription: ids are the user's own.
type subscriptionKey struct{ kid, id string }

// subscription is what was registered, as it is kept.
type subscription struct {
	Push      webpush.Subscription `json:"push"`
	PublicKey []byte               `json:"publicKey"`
	Service   string               `json:"service"` // token of the push service
	Tokens    []stashed            `json:"tokens"`
	Gone      bool                 `json:"gone"`

	revision uint64 // sequence of the record in the stream
}

// stashed is a VAPID token with when it ends.
type stashed struct {
	Token   string `json:"token"`
	Expires int64  `json:"expires"` // unix seconds
}

// generation tells one push subscription from the next one under the same id: what is queued
// for it is encrypted for its keys.
func (s *subscription) generation() string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(s.Push.Endpoint), s.Push.P256DH, s.Push.Auth} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part)))
		h.Write(part)
	}
	return jws.Encode(h.Sum(nil)[:9])
}

func parseSubscription(m *jetstream.RawStreamMsg) (*subscription, error) {
	s := new(subscription)
	if err := decodeStrict(m.Data, s); err != nil {
		return nil, fmt.Errorf("subscription at %d: %w", m.Sequence, err)
	}
	s.revision = m.Sequence
	return s, nil
}

// tally counts what became of a subscription's messages.
type tally struct {
	Accepted int64 `json:"accepted"`
	Sent     int64 `json:"sent"`
	Failed   int64 `json:"failed"`
}

func (t *tally) queued() int64 { return t.Accepted - t.Sent - t.Failed }

// envelope is what a message's record says beside its body, in the header of that name.
type envelope struct {
	ID         string          `json:"id"`
	Accepted   int64           `json:"accepted"` // unix milliseconds
	TTL        int64           `json:"ttl"`      // seconds
	Urgency    webpush.Urgency `json:"urgency,omitzero"`
	Topic      string          `json:"topic,omitzero"`
	Generation string          `json:"generation"`
	Print      string          `json:"print,omitzero"` // fingerprint of the request, if it had an Idempotency-Key
}

// Outcomes of a message.
const (
	outcomeSent         = "sent"
	outcomeExpired      = "expired"
	outcomeGone         = "gone"
	outcomeRefused      = "refused"
	outcomeTooLarge     = "too-large"
	outcomeUnauthorized = "unauthorized" // its time ended while there was no token
)

// receipt is what became of a message, as its event has it.
type receipt struct {
	Message string `json:"message"`
	Outcome string `json:"outcome"`
	Status  int    `json:"status"`
	Sent    int64  `json:"sent"`
	At      int64  `json:"at"`
}

// stashState is the event that asks for tokens.
type stashState struct {
	Left  int   `json:"left"`
	Until int64 `json:"until"`
}

// Headers of records.
const (
	kindHeader     = "Kms-Kind"
	envelopeHeader = "Kms-Envelope"
)

// Kinds of records under a message's subject, and of the event beside them.
const (
	kindQueued  = "queued"
	kindReceipt = "receipt"
	kindTokens  = "tokens"
)

// message is a record of a message, queued or with its receipt.
type message struct {
	envelope
	kind string
	body []byte // encrypted; or the receipt
	seq  uint64
}

// header is the part of nats.Header that records are read from.
type header interface{ Get(string) string }

// parseMessage reads a record.
func parseMessage(h header, body []byte, seq uint64) (*message, error) {
	m := &message{kind: h.Get(kindHeader), body: body, seq: seq}
	if m.kind != kindQueued && m.kind != kindReceipt {
		return nil, fmt.Errorf("record at %d: kind %q", seq, m.kind)
	}
	if err := decodeStrict([]byte(h.Get(envelopeHeader)), &m.envelope); err != nil {
		return nil, fmt.Errorf("record at %d: %w", seq, err)
	}
	if m.ID == "" || m.TTL < 0 || m.TTL > int64(maxTTL/time.Second) {
		return nil, fmt.Errorf("record at %d: %w", seq, errors.New("no id, or a TTL that no message has"))
	}
	return m, nil
}

func (e *envelope) acceptedAt() time.Time { return time.UnixMilli(e.Accepted) }

// briefly is what a message with TTL 0, which is only for user agents that are connected, gets for its one attempt.
const briefly = 5 * time.Second

// expires returns when the relay gives up.
func (e *envelope) expires() time.Time {
	if e.TTL == 0 {
		return e.acceptedAt().Add(briefly)
	}
	return e.acceptedAt().Add(time.Duration(e.TTL) * time.Second)
}

// remaining is the TTL that a push service is told at a time, in whole seconds.
func (e *envelope) remaining(now time.Time) time.Duration {
	return max(0, e.acceptedAt().Add(time.Duration(e.TTL)*time.Second).Sub(now)).Truncate(time.Second)
}

// keyMemory is for how long an Idempotency-Key stands for its message.
const keyMemory = 24 * time.Hour

// fingerprint tells whether a key is used for the same request again. The key is what it is keyed with, and is not stored: so
// who reads the storage can test guesses of a message only by guessing the key, too.
func fingerprint(key string, ttl int64, urgency webpush.Urgency, topic string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%d\n%s\n%s\n", ttl, urgency, topic)
	mac.Write(body)
	return jws.Encode(mac.Sum(nil))
}

// messageKey is the last part of a message's subject.
func messageKey(idempotencyKey, id string) string {
	if idempotencyKey == "" {
		return "m" + id
	}
	digest := sha256.Sum256([]byte(idempotencyKey))
	return "k" + jws.Encode(digest[:16])
}

func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return jws.Encode(b[:])
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // records are numbers and ASCII
	}
	return b
}

// seconds is a per-message TTL as JetStream has it.
func seconds(d time.Duration) string { return strconv.FormatInt(max(1, int64(d/time.Second)), 10) }
