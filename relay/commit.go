package relay

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// change is what one request or one attempt wants to write about one subscription: all of it or nothing.
type change struct {
	key     subscriptionKey
	writes  []write
	creates bool         // the subscription may be new
	count   func(*tally) // what it adds to the tally; nil for nothing
	limit   int64        // how many messages may be queued before it; 0 for any number
	erases  []string     // instead of all this: filters of what is deleted
	done    chan error
}

// write is a record.
type write struct {
	subject string
	header  nats.Header
	body    []byte
	render  func(tally) []byte // instead of body: what depends on the tally after the change
	ttl     time.Duration      // 0 for ever
	// The last sequence under expect, which may have wildcards, has to be that; "" for whatever it is.
	expect   string
	sequence uint64
}

// What a change can be refused for.
var (
	errConflict       = errors.New("relay: a record is not what was expected")
	errNoSubscription = errors.New("relay: the subscription does not exist any more")
)

// committer is the one writer. It takes all changes that wait and writes them as one atomic batch, so that they share
// the sync to the disk: alone, each would cost one. It owns the tallies.
type committer struct {
	store   *store
	metrics *metrics
	queue   chan *change
	tallies map[subscriptionKey]counted // of run's goroutine
	serial  uint64
	prefix  string // of batch ids
	ended   chan struct{}
	failing atomic.Bool // the storage did not take the last batch, for no fault of the batch's
}

// counted is a tally with its record's sequence, 0 if it has none.
type counted struct {
	tally
	sequence uint64
}

const (
	maxBatch      = 300       // changes of a record and a tally; JetStream takes a thousand in a batch
	maxBatchBytes = 512 << 10 // a batch is one entry of a cluster's log
	maxTallies    = 50_000    // that are remembered
)

func newCommitter(s *store, m *metrics) *committer {
	return &committer{store: s, metrics: m, queue: make(chan *change, maxBatch), tallies: map[subscriptionKey]counted{}, prefix: newID(), ended: make(chan struct{})}
}

// commit writes a change and returns once it is on disk, or nothing of it ever will be. Only when the storage does not answer,
// errUnavailable, it may be either.
func (c *committer) commit(ctx context.Context, ch *change) error {
	ch.done = make(chan error, 1)
	select {
	case c.queue <- ch:
	case <-ctx.Done():
		return errUnavailable.with("the storage is busy")
	case <-c.ended:
		return errUnavailable.with("the relay is ending")
	}
	select {
	case err := <-ch.done:
		return err
	case <-c.ended:
		select {
		case err := <-ch.done:
			return err
		default:
			return errUnavailable.with("the relay is ending")
		}
	}
}

// run writes changes until ctx is done, and those that wait then.
func (c *committer) run(ctx context.Context) {
	defer close(c.ended)
	var late []*change
	for {
		batch, rest := c.collect(ctx, late)
		if len(batch) == 0 {
			return
		}
		c.write(batch)
		late = rest
	}
}

// collect returns the next batch, and what has to wait for the one behind it. An empty batch is the end.
func (c *committer) collect(ctx context.Context, waiting []*change) (batch, late []*change) {
	if len(waiting) == 0 {
		select {
		case ch := <-c.queue:
			waiting = append(waiting, ch)
		case <-ctx.Done():
			select {
			case ch := <-c.queue:
				waiting = append(waiting, ch)
			default:
				return nil, nil
			}
		}
	}
	for len(waiting) < maxBatch {
		select {
		case ch := <-c.queue:
			waiting = append(waiting, ch)
			continue
		default:
		}
		break
	}
	return split(waiting)
}

// split leaves out of a batch what is about a record that is in it already, which JetStream would not notice if a filter with
// wildcards is what tells, and what would make it too large.
func split(waiting []*change) (batch, late []*change) {
	expected := map[string]bool{}
	size := 0
	for _, ch := range waiting {
		again := false
		for _, w := range ch.writes {
			again = again || w.expect != "" && expected[w.expect]
		}
		if again || size > maxBatchBytes {
			late = append(late, ch)
			continue
		}
		for _, w := range ch.writes {
			if w.expect != "" {
				expected[w.expect] = true
			}
			size += len(w.body) + 512
		}
		batch = append(batch, ch)
	}
	return batch, late
}

// write writes a batch, and in halves if it is refused as a whole: one change that is refused must not take others along.
func (c *committer) write(batch []*change) {
	ready := batch[:0:0]
	for _, ch := range batch { // first, so that nothing counts on a tally that is gone
		if ch.erases != nil {
			ch.done <- c.purge(ch)
		}
	}
	for _, ch := range batch {
		if ch.erases != nil {
			continue
		}
		if err := c.know(ch); err != nil {
			ch.done <- err
			continue
		}
		ready = append(ready, ch)
	}
	if len(ready) == 0 {
		return
	}
	err := c.publish(ready)
	switch {
	case err == nil:
		for _, ch := range ready {
			ch.done <- nil
		}
	case len(ready) > 1 && errors.Is(err, errConflict):
		c.write(ready[:len(ready)/2])
		c.write(ready[len(ready)/2:])
	case errors.Is(err, errConflict):
		ready[0].done <- c.alone(ready[0])
	default:
		for _, ch := range ready {
			ch.done <- err
		}
	}
}

// alone finds out why a change by itself was refused: if its tally was another, because another relay counts, it is tried again.
func (c *committer) alone(ch *change) error {
	for range 5 {
		before := c.tallies[ch.key].sequence
		delete(c.tallies, ch.key)
		if err := c.know(ch); err != nil {
			return err
		}
		if c.tallies[ch.key].sequence == before {
			return errConflict
		}
		if err := c.publish([]*change{ch}); !errors.Is(err, errConflict) {
			return err
		}
	}
	return errUnavailable.with("others write the same record all the time")
}

// know reads the tally of a change's subscription, unless it is known.
func (c *committer) know(ch *change) error {
	known, ok := c.tallies[ch.key]
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		record, err := c.store.last(ctx, c.store.tallySubject(ch.key))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return errUnavailable.with("the storage does not answer")
		default:
			known.sequence = record.Sequence
			if err := decodeStrict(record.Data, &known.tally); err != nil {
				return err
			}
		}
		if len(c.tallies) >= maxTallies {
			clear(c.tallies)
		}
		c.tallies[ch.key] = known
	}
	switch {
	case known.sequence == 0 && !ch.creates:
		return errNoSubscription
	case ch.limit > 0 && known.queued() >= ch.limit:
		return errQueueFull
	}
	return nil
}

// publish sends one atomic batch: what is written, and the new tally of every subscription that it is about.
func (c *committer) publish(batch []*change) error {
	tallies := map[subscriptionKey]counted{}
	var records []*nats.Msg
	for _, ch := range batch {
		t, ok := tallies[ch.key]
		if !ok {
			t = c.tallies[ch.key]
		}
		if ch.count != nil {
			ch.count(&t.tally)
		}
		tallies[ch.key] = t
		for _, w := range ch.writes {
			records = append(records, w.record(t.tally))
		}
	}
	var keys []subscriptionKey
	for key, t := range tallies {
		subject := c.store.tallySubject(key)
		w := write{subject: subject, body: mustJSON(t.tally), expect: subject, sequence: t.sequence}
		records, keys = append(records, w.record(t.tally)), append(keys, key)
	}
	last, err := c.send(records)
	c.failing.Store(err != nil && !errors.Is(err, errConflict) && !errors.Is(err, errFull))
	if err != nil {
		if !errors.Is(err, errConflict) {
			clear(c.tallies) // nobody knows what was written
		}
		return err
	}
	for i, key := range keys {
		c.tallies[key] = counted{tallies[key].tally, last - uint64(len(keys)-1-i)}
	}
	return nil
}

func (w *write) record(t tally) *nats.Msg {
	m := &nats.Msg{Subject: w.subject, Header: nats.Header{}, Data: w.body}
	if w.render != nil {
		m.Data = w.render(t)
	}
	maps.Copy(m.Header, w.header)
	if w.ttl > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, seconds(w.ttl))
	}
	if w.expect != "" {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.sequence, 10))
		m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, w.expect)
	}
	return m
}

// erase deletes all that filters match of a user, between two batches.
func (c *committer) erase(ctx context.Context, kid string, filters ...string) error {
	return c.commit(ctx, &change{key: subscriptionKey{kid: kid}, erases: filters})
}

func (c *committer) purge(ch *change) error {
	ctx, cancel := context.WithTimeout(context.Background(), 6*requestTime)
	defer cancel()
	for k := range c.tallies {
		if k.kid == ch.key.kid {
			delete(c.tallies, k)
		}
	}
	if err := c.store.purge(ctx, ch.erases...); err != nil {
		return errUnavailable.with("the storage does not answer")
	}
	return nil
}
