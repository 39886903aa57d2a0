package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of an atomic batch (NATS ADR-50).
const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// What JetStream refuses batches for.
const (
	codeWrongSequence   = 10071
	codeWrongConstant   = 10164 // the same, where the server does not say which it is
	codeStoreFailed     = 10077 // the limit of the stream
	codeTooManyInflight = 10210
	codeInsufficient    = 10023
	codeNoSpace         = 10047
	batchRetries        = 20
	batchRetryWait      = 25 * time.Millisecond
)

// batchAnswer is what JetStream answers to a batch.
type batchAnswer struct {
	Sequence uint64 `json:"seq"`
	Batch    string `json:"batch"`
	Error    *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// send publishes records as one atomic batch and returns the sequence of the last.
func (c *committer) send(records []*nats.Msg) (uint64, error) {
	for range batchRetries {
		answer, err := c.sendOnce(records)
		if err != nil {
			return 0, errUnavailable.with("the storage does not answer")
		}
		if answer.Error == nil {
			return answer.Sequence, nil
		}
		switch answer.Error.ErrCode {
		case codeWrongSequence, codeWrongConstant:
			return 0, errConflict
		case codeStoreFailed, codeInsufficient, codeNoSpace:
			return 0, errFull
		case codeTooManyInflight: // other relays of the cluster write as well
			time.Sleep(batchRetryWait)
			continue
		}
		return 0, fmt.Errorf("storage: %s (%d): %w", answer.Error.Description, answer.Error.ErrCode, errUnavailable)
	}
	return 0, errUnavailable.with("the storage is busy")
}

func (c *committer) sendOnce(records []*nats.Msg) (*batchAnswer, error) {
	c.serial++
	id := c.prefix + "." + strconv.FormatUint(c.serial, 10)
	for i, m := range records {
		m.Header.Set(batchID, id)
		m.Header.Set(batchSequence, strconv.Itoa(i+1))
	}
	for _, m := range records[:len(records)-1] {
		if err := c.store.conn.PublishMsg(m); err != nil {
			return nil, err
		}
	}
	commit := records[len(records)-1]
	commit.Header.Set(batchCommit, "1")
	started := time.Now()
	reply, err := c.store.conn.RequestMsg(commit, requestTime)
	c.metrics.commit(len(records), time.Since(started))
	if err != nil {
		return nil, err
	}
	answer := new(batchAnswer)
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return nil, err
	}
	if answer.Error == nil && answer.Batch != id {
		return nil, errors.New("storage: the server knows no atomic batches; NATS 2.12 is needed")
	}
	return answer, nil
}
