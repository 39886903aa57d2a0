package audit

import (
	"bytes"
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Bounds.
const (
	MaxEntry = 8192        // bytes of one canonical entry
	MaxSize  = 1<<53 - 1   // entries of a log: every sequence number is exact in JavaScript
	maxTime  = int64(1e11) // seconds; the year 5138, far below what JavaScript represents exactly
)

// ErrNotCanonical: the bytes are not the canonical encoding of an entry.
var ErrNotCanonical = errors.New("not the canonical encoding of an entry")

// Entry is one leaf of the log. The order of the fields is that of the
// canonical encoding.
type Entry struct {
	Seq     uint64            `json:"seq"`               // position in the log, from 0
	Time    int64             `json:"time"`              // seconds since 1970, as the device believed; never decreases
	Method  string            `json:"method"`            // of the request; not empty
	KID     string            `json:"kid,omitempty"`     // thumbprint of the key that was used (RFC 7638)
	Lease   string            `json:"lease,omitempty"`   // the standing permission that allowed it
	Origin  string            `json:"origin"`            // of the app that asked
	Outcome string            `json:"outcome"`           // "ok" or an error code; not empty
	Details map[string]string `json:"details,omitempty"` // flat; ordered by name when encoded
}

// Encode returns the canonical encoding.
func (e Entry) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b, err := e.appendJSON(make([]byte, 0, 256))
	if err != nil {
		return nil, fmt.Errorf("audit entry: %w", err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("audit entry: %d bytes, at most %d wanted", len(b), MaxEntry)
	}
	return b, nil
}

// appendJSON writes what json.Marshal with json.Deterministic writes, which a test
// compares. It is written out because it runs once for every operation.
func (e *Entry) appendJSON(b []byte) (_ []byte, err error) {
	text := func(member, value string) {
		b = append(b, member...)
		var failed error
		b, failed = jsontext.AppendQuote(b, value)
		err = cmp.Or(err, failed)
	}
	b = strconv.AppendUint(append(b, `{"seq":`...), e.Seq, 10)
	b = strconv.AppendInt(append(b, `,"time":`...), e.Time, 10)
	text(`,"method":`, e.Method)
	if e.KID != "" {
		text(`,"kid":`, e.KID)
	}
	if e.Lease != "" {
		text(`,"lease":`, e.Lease)
	}
	text(`,"origin":`, e.Origin)
	text(`,"outcome":`, e.Outcome)
	if len(e.Details) > 0 {
		separator := `,"details":{`
		for _, name := range slices.Sorted(maps.Keys(e.Details)) {
			text(separator, name)
			text(":", e.Details[name])
			separator = ","
		}
		b = append(b, '}')
	}
	return append(b, '}'), err
}

// ParseEntry accepts exactly what Encode produces. Its errors are
// ErrNotCanonical and do not quote the input.
func ParseEntry(b []byte) (Entry, error) {
	if len(b) > MaxEntry {
		return Entry{}, ErrNotCanonical
	}
	var e Entry
	if err := json.Unmarshal(b, &e, json.RejectUnknownMembers(true)); err != nil {
		return Entry{}, ErrNotCanonical
	}
	encoded, err := e.Encode()
	if err != nil || !bytes.Equal(encoded, b) {
		return Entry{}, ErrNotCanonical
	}
	return e, nil
}

func (e *Entry) check() error {
	switch {
	case e.Seq >= MaxSize:
		return fmt.Errorf("audit entry: sequence number %d, below %d wanted", e.Seq, uint64(MaxSize))
	case e.Time < 0 || e.Time > maxTime:
		return fmt.Errorf("audit entry: time %d, 0 to %d wanted", e.Time, maxTime)
	case e.Method == "":
		return errors.New("audit entry: no method")
	case e.Outcome == "":
		return errors.New("audit entry: no outcome")
	}
	return nil
}

// LeafHash returns the hash of a canonical entry as a leaf of the tree:
// SHA-256(0x00 ‖ entry), RFC 6962 section 2.1.
func LeafHash(entry []byte) [32]byte { return tlog.RecordHash(entry) }
