package relay

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// problem is an answer that is an error (RFC 9457).
type problem struct {
	code       string // type is "urn:kms-relay:" and this
	status     int
	title      string // the same for every problem of that code
	detail     string // what was got and what was wanted; never anything secret
	retryAfter time.Duration
}

// Problems are all that the relay answers with; docs/relay.md explains them.
var (
	errMalformed    = &problem{code: "malformed", status: http.StatusBadRequest, title: "The request is not of the form that the relay takes"}
	errUnauthorized = &problem{code: "unauthorized", status: http.StatusUnauthorized, title: "The relay token is missing or not valid"}
	errForbidden    = &problem{code: "forbidden", status: http.StatusForbidden, title: "The relay token is not for this"}
	errUnknown      = &problem{code: "unknown-subscription", status: http.StatusNotFound, title: "There is no such subscription"}
	errNoResource   = &problem{code: "not-found", status: http.StatusNotFound, title: "There is nothing here"}
	errMethod       = &problem{code: "method-not-allowed", status: http.StatusMethodNotAllowed, title: "The method is not one that is allowed here"}
	errGone         = &problem{code: "gone", status: http.StatusGone, title: "The push service has ended this subscription"}
	errTooLarge     = &problem{code: "too-large", status: http.StatusRequestEntityTooLarge, title: "The body is too large"}
	errKeyReused    = &problem{code: "idempotency-key-reused", status: http.StatusUnprocessableEntity, title: "The Idempotency-Key was used for another message"}
	errEndpoint     = &problem{code: "endpoint-refused", status: http.StatusUnprocessableEntity, title: "The endpoint is not one of a push service that this relay knows"}
	errStash        = &problem{code: "stash-refused", status: http.StatusUnprocessableEntity, title: "A token of the stash is not valid"}
	errTooMany      = &problem{code: "too-many-requests", status: http.StatusTooManyRequests, title: "Too many requests", retryAfter: time.Second}
	errQueueFull    = &problem{code: "queue-full", status: http.StatusTooManyRequests, title: "Too many messages of this subscription are waiting", retryAfter: time.Minute}
	errUnavailable  = &problem{code: "unavailable", status: http.StatusServiceUnavailable, title: "The relay cannot do this now", retryAfter: 2 * time.Second}
	errFull         = &problem{code: "storage-full", status: http.StatusInsufficientStorage, title: "The relay's storage is full", retryAfter: time.Minute}
)

var problems = []*problem{
	errMalformed, errUnauthorized, errForbidden, errUnknown, errNoResource, errMethod, errGone, errTooLarge,
	errKeyReused, errEndpoint, errStash, errTooMany, errQueueFull, errUnavailable, errFull,
}

func (p *problem) Error() string {
	if p.detail == "" {
		return p.code
	}
	return p.code + ": " + p.detail
}

// Is makes every instance of a problem match the one in the list.
func (p *problem) Is(target error) bool {
	other, ok := errors.AsType[*problem](target)
	return ok && other.code == p.code
}

// with returns the problem with what was got and what was wanted.
func (p *problem) with(format string, args ...any) *problem {
	q := *p
	q.detail = fmt.Sprintf(format, args...)
	return &q
}

// after returns the problem with another Retry-After.
func (p *problem) after(d time.Duration) *problem {
	q := *p
	q.retryAfter = d
	return &q
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitzero"`
	}{"urn:kms-relay:" + p.code, p.title, p.status, p.detail})
	if err != nil {
		panic(err) // details are made of quoted text
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="kms-relay"`)
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(body)
}
