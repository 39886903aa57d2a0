package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/store"
)

// formatVersion is the first byte of every stored value.
const formatVersion = 1

var (
	rootName   = store.Name{Kind: KindRoot, ID: "-"}
	commitName = store.Name{Kind: KindCommit, ID: "-"}
)

// overhead is what sealing adds to a plaintext, in bytes.
const overhead = keyengine.NonceSize + keyengine.TagSize

const aadLabel = "kms-enclave/record/v1"

func recordAAD(name store.Name) []byte {
	b := make([]byte, 0, len(aadLabel)+2+len(name.Kind)+len(name.ID))
	b = append(append(b, aadLabel...), 0)
	b = append(append(b, name.Kind...), 0)
	return append(b, name.ID...)
}

func indexKey(name store.Name) hash {
	b := make([]byte, 0, 64)
	b = append(append(b, name.Kind...), 0)
	return sha256.Sum256(append(b, name.ID...))
}

func sealedFingerprint(nonce [keyengine.NonceSize]byte) hash {
	return sha256.Sum256(append([]byte{1}, nonce[:]...))
}

func plainFingerprint(value []byte) hash {
	return sha256.Sum256(append([]byte{0}, value...))
}

// EncodePlain returns a plain record as it is stored: behind a format byte.
func EncodePlain(value []byte) []byte { return append([]byte{formatVersion}, value...) }

// DecodePlain cuts the format byte off a stored value.
func DecodePlain(stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, errors.New("missing or empty")
	}
	if stored[0] != formatVersion {
		return nil, fmt.Errorf("format %d, %d wanted", stored[0], formatVersion)
	}
	return stored[1:], nil
}

// encodeCommit returns the stored commit record: format:u8=1 ‖ SHA-256 of the
// anchor ‖ number:u64.
func encodeCommit(anchor store.Record, number uint64) []byte {
	sum := sha256.Sum256(anchor.Value)
	b := append(make([]byte, 0, 1+hashSize+8), formatVersion)
	return binary.BigEndian.AppendUint64(append(b, sum[:]...), number)
}

func describe(name store.Name) string { return name.Kind + " record " + name.ID }

// openAll opens sealed records in one round trip.
func (l *Ledger) openAll(ctx context.Context, records []store.Record) ([][]byte, error) {
	items := make([]Item, len(records))
	for i, r := range records {
		sealed, err := DecodePlain(r.Value)
		if err != nil || len(sealed) < overhead {
			return nil, &IntegrityError{What: describe(r.Name)}
		}
		items[i] = Item{Name: r.Name, AAD: recordAAD(r.Name), Data: sealed}
	}
	opened, err := l.cfg.Sealer.Open(ctx, items)
	if failed, ok := errors.AsType[*keyengine.OpenError](err); ok {
		return nil, &IntegrityError{What: describe(records[failed.Index].Name)}
	}
	return opened, err
}
