package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ackSlack is how much longer than an attempt JetStream waits, from the last word about a message, until it gives it to somebody
// else: after a crash that is how late what was in flight is tried again.
const ackSlack = 5 * time.Second

// startDelivery begins to pull for every push service, and for those that have a queue from an earlier configuration.
func (r *Relay) startDelivery(ctx, running context.Context) error {
	if err := r.listen(); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := r.loadHolds(ctx); err != nil {
		return fmt.Errorf("storage: holds: %w", err)
	}
	if err := r.addFormerServices(ctx); err != nil {
		return fmt.Errorf("storage: consumers: %w", err)
	}
	for _, s := range r.services {
		if err := r.startService(ctx, running, s); err != nil {
			return fmt.Errorf("storage: consumer of %s: %w", s.pattern, err)
		}
	}
	return nil
}

const consumerPrefix = "service-"

// addFormerServices adds what has a consumer and is not configured any more.
func (r *Relay) addFormerServices(ctx context.Context) error {
	known := map[string]bool{}
	for _, s := range r.services {
		known[s.token] = true
	}
	names := r.store.stream.ConsumerNames(ctx)
	for name := range names.Name() {
		if token, ok := strings.CutPrefix(name, consumerPrefix); ok && !known[token] {
			s := newService("(no longer configured)", false, 0, nil)
			s.token = token
			r.services = append(r.services, s)
		}
	}
	return names.Err()
}

func (r *Relay) startService(ctx, running context.Context, s *service) error {
	consumer, err := r.store.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       consumerPrefix + s.token,
		FilterSubject: r.store.prefix + ".msg." + s.token + ".>",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       time.Duration(r.config.AttemptTime) + ackSlack,
		// Messages that wait, for a push service or for tokens, must not keep others from being seen.
		MaxAckPending: -1,
		MaxDeliver:    -1,
		Replicas:      r.config.Replicas,
	})
	if err != nil {
		return err
	}
	// A missing heartbeat is a server that restarts; the iterator asks again by itself.
	pull, err := consumer.Messages(jetstream.PullMaxMessages(cap(s.places)), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return err
	}
	s.pull = pull
	r.running.Go(func() { r.pump(running, s) })
	return nil
}

// stopPulling lets what was pulled already come out of the iterator, and nothing else.
func (s *service) stopPulling() {
	if s.pull != nil {
		s.pull.Drain()
	}
}

// pump hands out messages to as many attempts as the push service has places.
func (r *Relay) pump(ctx context.Context, s *service) {
	for {
		m, err := s.pull.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) || ctx.Err() != nil {
			return
		}
		if err != nil {
			r.log.Warn("queue", "service", s.pattern, "error", err)
			time.Sleep(time.Second)
			continue
		}
		if r.draining.Load() {
			_ = m.Nak()
			continue
		}
		s.places <- struct{}{}
		r.attempts.Go(func() {
			defer func() { <-s.places }()
			r.handle(ctx, m)
		})
	}
}

// handle does with one record out of the queue what is to be done now.
func (r *Relay) handle(ctx context.Context, m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		r.log.Error("queue", "error", err)
		return
	}
	record, err := parseMessage(m.Headers(), m.Data(), meta.Sequence.Stream)
	if err != nil {
		r.log.Error("a record cannot be read and is left alone", "error", err)
		_ = m.Term()
		return
	}
	if record.kind == kindReceipt {
		_ = m.Ack()
		return
	}
	d := &delivery{relay: r, msg: m, message: record, key: keyOf(m.Subject()), deliveries: int(meta.NumDelivered)}
	d.settle(ctx, d.decide(ctx))
}

// keyOf reads the subscription from a message's subject.
func keyOf(subject string) subscriptionKey {
	parts := strings.Split(subject, ".")
	if len(parts) < 3 {
		return subscriptionKey{}
	}
	return subscriptionKey{parts[len(parts)-3], parts[len(parts)-2]}
}
