package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"net/http"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// registration is the body of PUT /v1/subscriptions/{id}.
type registration struct {
	Subscription pushSubscription `json:"subscription"`
	PublicKey    string           `json:"publicKey"`
	Tokens       []string         `json:"tokens"`
}

// pushSubscription is what PushSubscription.toJSON gives (Push API section 9).
type pushSubscription struct {
	Endpoint       string   `json:"endpoint"`
	ExpirationTime *float64 `json:"expirationTime"`
	Keys           struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
}

// publicState is the answer about a subscription.
type publicState struct {
	ID     string     `json:"id"`
	Sent   int64      `json:"sent"`
	Failed int64      `json:"failed"`
	Queued int64      `json:"queued"`
	Tokens stashState `json:"tokens"`
	State  string     `json:"state"`
}

func (r *Relay) putSubscription(w http.ResponseWriter, q *http.Request) error {
	id, err := subscriptionID(q)
	if err != nil {
		return err
	}
	token, err := bearer(q.Header)
	if err != nil {
		return err
	}
	var body registration
	if err := readJSON(w, q, &body); err != nil {
		return err
	}
	public, err := body.key()
	if err != nil {
		return err
	}
	v, err := r.verify(token, public)
	if err == nil {
		err = v.allows(scopeRegister, id)
	}
	if err != nil {
		return err
	}
	wanted, err := r.wanted(&body, public)
	if err != nil {
		return err
	}
	return r.register(w, q, subscriptionKey{v.kid, id}, wanted)
}

func (r *Relay) register(w http.ResponseWriter, q *http.Request, k subscriptionKey, wanted *subscription) error {
	created, err := r.subs.update(q.Context(), k, func(old *subscription) (*subscription, error) {
		edited := *wanted
		edited.Gone = old != nil && old.Gone && old.generation() == wanted.generation() // what a push service has ended stays so
		return &edited, nil
	})
	if err != nil {
		return err
	}
	r.tell(newsSubscription, k)
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return r.writeState(w, q.Context(), status, k)
}

// key returns the user's public key, a point on the curve.
func (b *registration) key() ([]byte, error) {
	public, err := jws.Decode(b.PublicKey)
	if err != nil || len(public) != webpush.PublicSize {
		return nil, errMalformed.with("publicKey is not an uncompressed P-256 point in base64url")
	}
	if _, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public); err != nil {
		return nil, errMalformed.with("publicKey is not on P-256")
	}
	return public, nil
}

// wanted returns the subscription that a registration describes, every part of it checked.
func (r *Relay) wanted(b *registration, public []byte) (*subscription, error) {
	s, origin, err := r.serviceOf(b.Subscription.Endpoint)
	if err != nil {
		return nil, err
	}
	p256dh, dhErr := jws.Decode(b.Subscription.Keys.P256DH)
	auth, authErr := jws.Decode(b.Subscription.Keys.Auth)
	if _, err := webpush.NewKeys(p256dh, auth); err != nil || dhErr != nil || authErr != nil {
		return nil, errMalformed.with("the subscription's keys are not a P-256 point and 16 bytes, in base64url")
	}
	stash, err := checkStash(b.Tokens, public, origin, r.now())
	if err != nil {
		return nil, err
	}
	return &subscription{
		Push:      webpush.Subscription{Endpoint: b.Subscription.Endpoint, P256DH: p256dh, Auth: auth},
		PublicKey: bytes.Clone(public), Service: s.token, Tokens: stash,
	}, nil
}

func (r *Relay) getSubscription(w http.ResponseWriter, q *http.Request) error {
	_, k, err := r.authorizeFor(q, scopeRegister)
	if err != nil {
		return err
	}
	return r.writeState(w, q.Context(), http.StatusOK, k)
}

func (r *Relay) writeState(w http.ResponseWriter, ctx context.Context, status int, k subscriptionKey) error {
	sub, err := r.subs.read(ctx, k)
	if err != nil {
		return err
	}
	t, err := r.subs.tally(ctx, k)
	if err != nil {
		return err
	}
	state := "active"
	if sub.Gone {
		state = "gone"
	}
	return writeJSON(w, status, publicState{k.id, t.Sent, t.Failed, t.queued(), sub.state(r.now()), state})
}

func (r *Relay) putTokens(w http.ResponseWriter, q *http.Request) error {
	_, k, err := r.authorizeFor(q, scopeRegister)
	if err != nil {
		return err
	}
	var body struct {
		Tokens []string `json:"tokens"`
	}
	if err := readJSON(w, q, &body); err != nil {
		return err
	}
	_, err = r.subs.update(q.Context(), k, func(s *subscription) (*subscription, error) {
		if s == nil {
			return nil, errUnknown
		}
		_, origin, err := r.serviceOf(s.Push.Endpoint)
		if err != nil {
			return nil, err
		}
		s.Tokens, err = checkStash(body.Tokens, s.PublicKey, origin, r.now())
		return s, err
	})
	if err != nil {
		return err
	}
	r.tell(newsSubscription, k)
	return r.writeState(w, q.Context(), http.StatusOK, k)
}

func (r *Relay) deleteSubscription(w http.ResponseWriter, q *http.Request) error {
	_, k, err := r.authorizeFor(q, scopeRegister)
	if err != nil {
		return err
	}
	if _, err := r.subs.read(q.Context(), k); err != nil {
		return err
	}
	if err := r.subs.erase(q.Context(), k); err != nil {
		return err
	}
	r.subs.forget(k)
	r.tell(newsSubscription, k)
	r.tell(newsEvent, k)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (r *Relay) deleteUser(w http.ResponseWriter, q *http.Request) error {
	v, err := r.authorize(q, "*")
	if err == nil {
		err = v.allowsUser()
	}
	if err != nil {
		return err
	}
	if err := r.subs.eraseUser(q.Context(), v.kid); err != nil {
		return err
	}
	r.subs.forgetUser(v.kid)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
