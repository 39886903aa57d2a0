// Package webpush sends push messages to browsers: the client of RFC 8030, with message
// encryption (RFC 8291, in the content coding of RFC 8188) and VAPID (RFC 8292).
//
// It holds no key. Messages are encrypted for a subscription's public key with one that is
// made for each of them, and a token is handed in by whoever may sign for the application
// server. The other ends are here as well: [Receiver] decrypts, [VerifyToken] checks, as a
// user agent and a push service do.
//
//	keys, err := webpush.NewKeys(subscription.P256DH, subscription.Auth)
//	body, err := keys.Encrypt([]byte("hello"), 0)
//	receipt, err := client.Send(ctx, subscription.Endpoint, webpush.Request{
//		Body: body, Authorization: webpush.Authorization(token, public), TTL: time.Hour,
//	})
//
// It must not decide where a message may go: that endpoints are those of push services, and
// no private addresses, is for the transport of the http.Client that it is given.
package webpush

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
)

// Subscription is what PushManager.subscribe gives (Push API section 9).
type Subscription struct {
	Endpoint string // https URL, a secret: whoever has it and the token can send
	P256DH   []byte
	Auth     []byte
}

// UnmarshalJSON takes what PushSubscription.toJSON gives.
func (s *Subscription) UnmarshalJSON(b []byte) error {
	var j struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if _, err := Audience(j.Endpoint); err != nil {
		return err
	}
	var err [2]error
	s.Endpoint = j.Endpoint
	s.P256DH, err[0] = base64.RawURLEncoding.DecodeString(strings.TrimRight(j.Keys.P256DH, "="))
	s.Auth, err[1] = base64.RawURLEncoding.DecodeString(strings.TrimRight(j.Keys.Auth, "="))
	if errors.Join(err[:]...) != nil {
		return fmt.Errorf("not base64url: %w", ErrKeys)
	}
	return nil
}

// MarshalJSON gives the same form.
func (s Subscription) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"endpoint": s.Endpoint, "keys": map[string]string{"p256dh": jws.Encode(s.P256DH), "auth": jws.Encode(s.Auth)},
	}, json.Deterministic(true))
}

// Urgency says when a user agent that saves power is to be woken (RFC 8030 section 5.3).
type Urgency string

// The urgencies. None is Normal.
const (
	VeryLow Urgency = "very-low"
	Low     Urgency = "low"
	Normal  Urgency = "normal"
	High    Urgency = "high"
)

// Request is one message to send.
type Request struct {
	Body          []byte        // by Keys.Encrypt; empty for a message without one
	Authorization string        // by Authorization; empty for a subscription without a key
	TTL           time.Duration // how long the push service keeps it, in whole seconds; 0 is only while the user agent is connected
	Urgency       Urgency       // "" for none
	Topic         string        // takes the place of an unsent message of that topic: up to 32 characters of base64url; "" for none
}

// Check returns an error unless a request can be sent.
func (r *Request) Check() error {
	switch {
	case r.TTL < 0:
		return fmt.Errorf("webpush: TTL of %s", r.TTL)
	case len(r.Body) > MaxBody:
		return fmt.Errorf("body of %d bytes, at most %d: %w", len(r.Body), MaxBody, ErrTooLong)
	case len(r.Topic) > 32 || strings.Trim(r.Topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return errors.New("webpush: topic is not up to 32 characters of base64url")
	}
	switch r.Urgency {
	case "", VeryLow, Low, Normal, High:
		return nil
	}
	return fmt.Errorf("webpush: urgency %q", r.Urgency)
}

// Receipt is what a push service says of a message that it took.
type Receipt struct {
	Location string        // of the message, if it says
	TTL      time.Duration // for which it keeps the message, if it says; -1 otherwise (RFC 8030 section 5.2)
}

// What became of a message that was not taken. See ServiceError.
var (
	ErrGone         = errors.New("webpush: the subscription does not exist any more") // 404, 410 (RFC 8030 section 7.3)
	ErrUnauthorized = errors.New("webpush: the token is not taken")                   // 401, 403 (RFC 8292 section 4.2)
	ErrTooLarge     = errors.New("webpush: the body is too large")                    // 413
	ErrTooMany      = errors.New("webpush: too many messages")                        // 429 (RFC 8030 section 8.4)
	ErrUnavailable  = errors.New("webpush: the push service does not work")           // 5xx
	ErrRefused      = errors.New("webpush: the message is refused")                   // any other status
)

// ServiceError is a push service's no. It matches one of the errors above.
type ServiceError struct {
	Status     int
	RetryAfter time.Duration // if it says; 0 otherwise
	Reason     string        // the first bytes of its answer, printable: for a log, never for a decision
}

func (e *ServiceError) Error() string {
	return fmt.Sprintf("%v (status %d)", e.Unwrap(), e.Status)
}

// Unwrap returns which of the errors above it is.
func (e *ServiceError) Unwrap() error {
	switch {
	case e.Status == http.StatusNotFound || e.Status == http.StatusGone:
		return ErrGone
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return ErrUnauthorized
	case e.Status == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case e.Status == http.StatusTooManyRequests:
		return ErrTooMany
	case e.Status >= 500:
		return ErrUnavailable
	}
	return ErrRefused
}

// Client sends requests. Its zero value uses http.DefaultTransport, which reaches every address there is.
// It is safe for concurrent use.
type Client struct {
	// Transport decides which addresses can be reached, and pools connections.
	Transport http.RoundTripper
	// Now is the clock by which a Retry-After that is a date is understood; time.Now if nil.
	Now func() time.Time
}

const (
	patience      = time.Minute    // for an answer
	maxReason     = 200            // bytes of an answer that are kept
	maxAnswer     = 16 << 10       // bytes of an answer that are read, so that the connection can be used again
	maxRetryAfter = 24 * time.Hour // no push service is waited for longer
)

// Send posts one message to an endpoint, within a minute or as long as ctx allows. The error is
// a *ServiceError if the push service answered and did not take it; ErrEndpoint if that is no https
// URL. Redirects are not followed: they are an answer.
func (c *Client) Send(ctx context.Context, endpoint string, r Request) (Receipt, error) {
	if err := r.Check(); err != nil {
		return Receipt{}, err
	}
	if _, err := Audience(endpoint); err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(r.Body))
	if err != nil {
		return Receipt{}, ErrEndpoint
	}
	h := request.Header
	h.Set("TTL", strconv.FormatInt(int64(r.TTL/time.Second), 10))
	if len(r.Body) > 0 {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Encoding", "aes128gcm")
	}
	for name, value := range map[string]string{"Authorization": r.Authorization, "Urgency": string(r.Urgency), "Topic": r.Topic} {
		if value != "" {
			h.Set(name, value)
		}
	}
	response, err := cmp.Or(c.Transport, http.DefaultTransport).RoundTrip(request)
	if err != nil {
		return Receipt{}, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 { // 101: the body is a connection that nothing ends
		return Receipt{}, &ServiceError{Status: response.StatusCode}
	}
	reason, _ := io.ReadAll(io.LimitReader(response.Body, maxReason))
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	if response.StatusCode/100 == 2 {
		return Receipt{response.Header.Get("Location"), keptFor(response.Header.Get("TTL"))}, nil
	}
	return Receipt{}, &ServiceError{response.StatusCode, c.retryAfter(response.Header.Get("Retry-After")), printable(reason)}
}

func keptFor(header string) time.Duration {
	if d, ok := seconds(header); ok {
		return d
	}
	return -1
}

// seconds reads a number of them; what is more than 2³¹ is that (RFC 8030 section 5.2).
func seconds(header string) (time.Duration, bool) {
	n, err := strconv.ParseUint(header, 10, 31)
	switch {
	case errors.Is(err, strconv.ErrRange):
		n = 1 << 31
	case err != nil:
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

// retryAfter understands seconds and dates (RFC 9110 section 10.2.3).
func (c *Client) retryAfter(header string) time.Duration {
	if d, ok := seconds(header); ok {
		return min(d, maxRetryAfter)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return min(max(at.Sub(now()), 0), maxRetryAfter)
}

func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, string(b))
}
