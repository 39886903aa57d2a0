package backup

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the one that Encode writes.
const Version = 1

// Sizes in bytes.
const (
	MaxSize    = 32 << 20 // a whole file
	EncSize    = 1120     // an ML-KEM-768 ciphertext and an X25519 public key
	MinSealed  = 28       // a nonce and a tag
	MaxWrapped = 1024     // the wrapped vault key
	MACKeySize = 32
)

const (
	magic       = "kms-enclave-backup\n"
	maxTime     = 253402300799 // 9999-12-31T23:59:59Z
	maxOverhead = len(magic) + 1 + 8 + 8 + 4 + 16 + 16 + 2 + EncSize + 2 + MaxWrapped + 4 + sha256.Size
)

// MaxBody is the longest sealed body that fits beside any header.
const MaxBody = MaxSize - maxOverhead

// What is wrong with a file. Each calls for another sentence to the user.
var (
	ErrEmpty     = errors.New("backup file is empty")
	ErrForeign   = errors.New("file is not a backup")
	ErrTooLarge  = errors.New("backup file is too large")
	ErrTruncated = errors.New("backup file is cut off")
	ErrTrailing  = errors.New("backup file has more behind its end")
	// ErrEdited means that the file is not as it was written, or that the MAC key is
	// not the one it was written with.
	ErrEdited = errors.New("backup file was changed")
)

// A NewerError is for a file that only a later version of this program can read.
type NewerError struct{ Version int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("backup file has version %d, wanted %d", e.Version, Version)
}

// A File holds the fields of a backup file. Those that Parse returned are claims
// until Authenticate has returned nil.
type File struct {
	CreatedAt int64 // seconds since 1970
	Epoch     uint64
	Keys      uint32
	Vault     [16]byte
	Phrase    [16]byte
	Enc       []byte
	Wrapped   []byte
	Body      []byte

	mac [sha256.Size]byte
}

// Encode writes a file. macKey has MACKeySize bytes.
func Encode(f *File, macKey []byte) ([]byte, error) {
	if len(f.Body) > MaxBody {
		return nil, ErrTooLarge
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	mac, err := f.computeMAC(macKey)
	if err != nil {
		return nil, err
	}
	return f.append(mac), nil
}

// check returns an error for fields that no file has.
func (f *File) check() error {
	switch {
	case f.CreatedAt < 0 || f.CreatedAt > maxTime:
		return fmt.Errorf("backup: made at %d s, wanted 0 to %d", f.CreatedAt, int64(maxTime))
	case len(f.Enc) != EncSize:
		return fmt.Errorf("backup: encapsulated secret of %d bytes, wanted %d", len(f.Enc), EncSize)
	case len(f.Wrapped) < MinSealed || len(f.Wrapped) > MaxWrapped:
		return fmt.Errorf("backup: wrapped key of %d bytes, wanted %d to %d", len(f.Wrapped), MinSealed, MaxWrapped)
	case len(f.Body) < MinSealed:
		return fmt.Errorf("backup: sealed body of %d bytes, wanted at least %d", len(f.Body), MinSealed)
	}
	return nil
}

// AAD returns the additional data of the sealed body: all fields before it.
func (f *File) AAD() []byte {
	b := append(make([]byte, 0, maxOverhead), magic...)
	b = append(b, Version)
	b = binary.BigEndian.AppendUint64(b, uint64(f.CreatedAt))
	b = binary.BigEndian.AppendUint64(b, f.Epoch)
	b = binary.BigEndian.AppendUint32(b, f.Keys)
	b = append(append(b, f.Vault[:]...), f.Phrase[:]...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(f.Enc))), f.Enc...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(f.Wrapped))), f.Wrapped...)
}

// head is everything before the body's own bytes.
func (f *File) head() []byte {
	return binary.BigEndian.AppendUint32(f.AAD(), uint32(len(f.Body)))
}

func (f *File) append(mac []byte) []byte { return bytes.Join([][]byte{f.head(), f.Body, mac}, nil) }

func (f *File) computeMAC(key []byte) ([]byte, error) {
	if len(key) != MACKeySize {
		return nil, fmt.Errorf("backup: MAC key of %d bytes, wanted %d", len(key), MACKeySize)
	}
	h := hmac.New(sha256.New, key)
	h.Write(f.head())
	h.Write(f.Body)
	return h.Sum(nil), nil
}

// Authenticate returns ErrEdited unless the fields are as somebody wrote them who had macKey.
func (f *File) Authenticate(macKey []byte) error {
	mac, err := f.computeMAC(macKey)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac, f.mac[:]) {
		return ErrEdited
	}
	return nil
}
