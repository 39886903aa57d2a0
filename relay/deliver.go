package relay

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kms-enclave/kms-enclave/webpush"
)

// delivery is one message in the hands of one goroutine.
type delivery struct {
	*message
	relay      *Relay
	msg        jetstream.Msg
	key        subscriptionKey
	deliveries int // how often it was taken out of the queue, this time included
}

// verdict is what becomes of a message: an outcome, or another try after a wait.
type verdict struct {
	outcome string
	status  int
	wait    time.Duration
	orphan  bool // its subscription was erased
}

// decide finds out what is to be done with a message, and makes an attempt if one may be made.
func (d *delivery) decide(ctx context.Context) verdict {
	r := d.relay
	for range maxStash + 1 { // each turn but the last loses a token
		sub, err := r.subs.get(ctx, d.key)
		now := r.now()
		switch {
		case errors.Is(err, errUnknown):
			return verdict{orphan: true}
		case err != nil:
			return verdict{wait: time.Second}
		case sub.Gone || sub.generation() != d.Generation:
			return verdict{outcome: outcomeGone}
		case !now.Before(d.expires()) && len(sub.usable(now)) == 0:
			return verdict{outcome: outcomeUnauthorized}
		case !now.Before(d.expires()):
			return verdict{outcome: outcomeExpired}
		}
		s, origin, err := r.serviceOf(sub.Push.Endpoint)
		if err != nil {
			return verdict{outcome: outcomeRefused}
		}
		if left := max(r.holds.left(origin, now), r.holds.left(ofUser(origin, d.key), now)); left > 0 {
			return d.wait(later(left))
		}
		tokens := sub.usable(now)
		if len(tokens) == 0 {
			return d.waitForTokens(ctx, sub)
		}
		v, again := d.attempt(ctx, s, origin, sub, tokens[0].Token)
		if !again {
			return v
		}
	}
	return verdict{wait: time.Second}
}

// wait puts the message back, but not for longer than it lasts.
func (d *delivery) wait(wait time.Duration) verdict {
	left := d.expires().Sub(d.relay.now())
	return verdict{wait: max(time.Millisecond, min(wait, left+time.Millisecond))}
}

// waitForTokens asks the app for tokens and puts the message back.
func (d *delivery) waitForTokens(ctx context.Context, sub *subscription) verdict {
	d.relay.callForTokens(ctx, d.key, sub)
	d.relay.waiting.add(d.key, d.msg.Reply())
	return d.wait(backOff(d.deliveries + 2))
}

// attempt sends the message once. It reports whether another token is to be tried at once.
func (d *delivery) attempt(ctx context.Context, s *service, origin string, sub *subscription, token string) (v verdict, again bool) {
	r := d.relay
	_ = d.msg.InProgress()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.config.AttemptTime))
	defer cancel()
	started := time.Now()
	_, err := s.client.Send(ctx, sub.Push.Endpoint, webpush.Request{
		Body: d.body, Authorization: webpush.Authorization(token, sub.PublicKey), TTL: d.remaining(r.now()), Urgency: d.Urgency, Topic: d.Topic,
	})
	answer, answered := errors.AsType[*webpush.ServiceError](err)
	r.metrics.attempt(s, time.Since(started), err)
	switch {
	case err == nil:
		r.holds.worked(origin)
		r.holds.worked(ofUser(origin, d.key))
		return verdict{outcome: outcomeSent, status: http.StatusCreated}, false
	case errors.Is(err, errForbiddenAddress):
		return verdict{outcome: outcomeRefused}, false
	case !answered:
		return d.wait(backOff(d.deliveries)), false
	}
	return d.refused(context.WithoutCancel(ctx), s, origin, token, answer)
}

// refused decides by a push service's no (RFC 8030 sections 5, 7.3 and 8.4; RFC 8292 section 4.2).
func (d *delivery) refused(ctx context.Context, s *service, origin, token string, answer *webpush.ServiceError) (v verdict, again bool) {
	r := d.relay
	switch {
	case errors.Is(answer, webpush.ErrTooMany): // of this application server, which is the user's key
		return d.hold(ctx, s, ofUser(origin, d.key), answer.RetryAfter), false
	case answer.Status == http.StatusServiceUnavailable || answer.RetryAfter > 0 && errors.Is(answer, webpush.ErrUnavailable):
		return d.hold(ctx, s, origin, answer.RetryAfter), false
	case errors.Is(answer, webpush.ErrUnavailable), answer.Status == http.StatusRequestTimeout:
		return d.wait(backOff(d.deliveries)), false
	case errors.Is(answer, webpush.ErrGone):
		r.markGone(ctx, d.key, d.Generation)
		return verdict{outcome: outcomeGone, status: answer.Status}, false
	case errors.Is(answer, webpush.ErrUnauthorized):
		if !r.dropToken(ctx, d.key, token) {
			return d.wait(backOff(d.deliveries)), false // or the same token would be tried again at once
		}
		return verdict{}, true
	case errors.Is(answer, webpush.ErrTooLarge):
		return verdict{outcome: outcomeTooLarge, status: answer.Status}, false
	}
	return verdict{outcome: outcomeRefused, status: answer.Status}, false
}

// hold leaves a push service alone, for one user or for all, as long as it says, and puts the message back.
func (d *delivery) hold(ctx context.Context, s *service, who string, wait time.Duration) verdict {
	if wait == 0 {
		wait = d.relay.holds.failed(who)
	}
	d.relay.hold(ctx, s, who, wait)
	return d.wait(later(wait))
}

// settle makes a verdict true.
func (d *delivery) settle(ctx context.Context, v verdict) {
	switch {
	case v.orphan:
		if err := d.relay.store.purge(ctx, d.msg.Subject()); err != nil {
			_ = d.msg.NakWithDelay(time.Second)
			return
		}
		_ = d.msg.Ack()
	case v.outcome == "":
		_ = d.msg.NakWithDelay(v.wait)
	default:
		d.finish(ctx, v)
	}
}

// receiptMemory is how long receipts can be read; longer than keyMemory, because a receipt is what a key is remembered by.
const receiptMemory = 7 * 24 * time.Hour

// finish puts the receipt in the message's place. Until that is on disk the message is in flight, so it is
// tried until the relay ends.
func (d *delivery) finish(ctx context.Context, v verdict) {
	r := d.relay
	for {
		_ = d.msg.InProgress()
		err := r.commits.commit(ctx, d.change(v))
		switch {
		case err == nil:
			r.metrics.finished(v.outcome)
			r.tell(newsEvent, d.key)
			_ = d.msg.Ack()
			return
		case errors.Is(err, errConflict): // it has a receipt, or was erased
			_ = d.msg.Ack()
			return
		case errors.Is(err, errNoSubscription):
			d.settle(ctx, verdict{orphan: true})
			return
		}
		r.log.Warn("a receipt cannot be written yet", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// change replaces the message's record by its receipt.
func (d *delivery) change(v verdict) *change {
	at := d.relay.now().Unix()
	return &change{
		key: d.key,
		count: func(t *tally) {
			if v.outcome == outcomeSent {
				t.Sent++
			} else {
				t.Failed++
			}
		},
		writes: []write{{
			subject: d.msg.Subject(),
			header:  nats.Header{kindHeader: {kindReceipt}, envelopeHeader: {string(mustJSON(d.envelope))}},
			render:  func(t tally) []byte { return mustJSON(receipt{d.ID, v.outcome, v.status, t.Sent, at}) },
			ttl:     receiptMemory,
			expect:  d.msg.Subject(), sequence: d.seq,
		}},
	}
}

// markGone remembers that the push service has ended a subscription. What is queued for it is
// finished as it comes out of the queue.
func (r *Relay) markGone(ctx context.Context, k subscriptionKey, generation string) {
	_, err := r.subs.update(ctx, k, func(s *subscription) (*subscription, error) {
		if s == nil || s.generation() != generation || s.Gone {
			return nil, nil
		}
		s.Gone, s.Tokens = true, nil
		return s, nil
	})
	if err != nil {
		r.log.Warn("a subscription that is gone cannot be marked", "subscription", short(k), "error", err)
	}
	r.tell(newsSubscription, k)
}

// dropToken takes a token that a push service refused out of the stash, and asks for others if few are left. It reports whether the
// stash is without it.
func (r *Relay) dropToken(ctx context.Context, k subscriptionKey, token string) bool {
	var left *subscription
	_, err := r.subs.update(ctx, k, func(s *subscription) (*subscription, error) {
		left = s.without(token)
		return left, nil
	})
	if err != nil {
		r.log.Warn("a token that was refused cannot be dropped", "subscription", short(k), "error", err)
		return false
	}
	if left != nil {
		r.callForTokens(ctx, k, left)
	}
	return true
}

// callForTokens writes a tokens event if the stash is low and this was not said yet.
func (r *Relay) callForTokens(ctx context.Context, k subscriptionKey, sub *subscription) {
	state := sub.state(r.now())
	if sub.Gone || !state.low(r.now()) || !r.lowStash.news(k, state) {
		return
	}
	err := r.commits.commit(ctx, &change{key: k, writes: []write{{
		subject: r.store.tokensSubject(k), header: nats.Header{kindHeader: {kindTokens}}, body: mustJSON(state), ttl: receiptMemory,
	}}})
	if err != nil {
		r.lowStash.forget(k)
		return
	}
	r.tell(newsEvent, k)
}
