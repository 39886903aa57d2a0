package audit

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// MaxBatch bounds the entries of one batch.
const MaxBatch = 4096

const (
	batchVersion    = 1
	batchHeaderSize = 1 + 2
)

// BatchID returns the id of the record that holds a batch: the sequence number
// of its first entry, 16 hex digits, so that ids order as numbers do.
func BatchID(first uint64) string { return fmt.Sprintf("%016x", first) }

// ParseBatchID accepts exactly what BatchID produces.
func ParseBatchID(id string) (uint64, error) {
	first, err := strconv.ParseUint(id, 16, 64)
	if err != nil || BatchID(first) != id || first >= MaxSize {
		return 0, fmt.Errorf("audit batch: id %q, 16 hex digits wanted", id)
	}
	return first, nil
}

// EncodeBatch joins consecutive canonical entries into one record. It panics on
// none, on more than MaxBatch, and on an entry that Encode cannot have produced.
func EncodeBatch(entries [][]byte) []byte {
	if len(entries) == 0 || len(entries) > MaxBatch {
		panic("audit: a batch of " + strconv.Itoa(len(entries)) + " entries")
	}
	size := batchHeaderSize
	for _, e := range entries {
		size += 2 + len(e)
	}
	b := append(make([]byte, 0, size), batchVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		if len(e) == 0 || len(e) > MaxEntry {
			panic("audit: an entry of " + strconv.Itoa(len(e)) + " bytes")
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(e)))
		b = append(b, e...)
	}
	return b
}

// ParseBatch cuts a batch into its entries, which share b. It checks the framing;
// what the entries say is for [ParseEntry] or [Verify] to check.
func ParseBatch(b []byte) ([][]byte, error) {
	if len(b) < batchHeaderSize {
		return nil, fmt.Errorf("audit batch: %d bytes, at least %d wanted", len(b), batchHeaderSize)
	}
	if b[0] != batchVersion {
		return nil, fmt.Errorf("audit batch: version %d, %d wanted", b[0], batchVersion)
	}
	count := int(binary.BigEndian.Uint16(b[1:]))
	if count == 0 || count > MaxBatch {
		return nil, fmt.Errorf("audit batch: %d entries, 1 to %d wanted", count, MaxBatch)
	}
	entries := make([][]byte, 0, min(count, len(b)/2))
	rest := b[batchHeaderSize:]
	for i := range count {
		entry, after, err := cutEntry(rest)
		if err != nil {
			return nil, fmt.Errorf("audit batch: entry %d of %d: %w", i, count, err)
		}
		entries, rest = append(entries, entry), after
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("audit batch: %d bytes left over", len(rest))
	}
	return entries, nil
}

func cutEntry(b []byte) (entry, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%d bytes, at least 2 wanted", len(b))
	}
	n, b := int(binary.BigEndian.Uint16(b)), b[2:]
	if n == 0 || n > MaxEntry {
		return nil, nil, fmt.Errorf("length %d, 1 to %d wanted", n, MaxEntry)
	}
	if len(b) < n {
		return nil, nil, fmt.Errorf("%d bytes, %d wanted", len(b), n)
	}
	return b[:n:n], b[n:], nil
}
