package backup

import (
	"encoding/binary"
	"strings"
)

// Parse takes a file apart. The File shares b's memory.
func Parse(b []byte) (*File, error) {
	r := &reader{rest: b}
	if err := r.begin(); err != nil {
		return nil, err
	}
	f := &File{
		CreatedAt: int64(binary.BigEndian.Uint64(r.take(8))),
		Epoch:     binary.BigEndian.Uint64(r.take(8)),
		Keys:      binary.BigEndian.Uint32(r.take(4)),
		Vault:     [16]byte(r.take(16)),
		Phrase:    [16]byte(r.take(16)),
		Enc:       r.prefixed(2, EncSize, EncSize),
		Wrapped:   r.prefixed(2, MinSealed, MaxWrapped),
		Body:      r.prefixed(4, MinSealed, MaxSize),
	}
	f.mac = [len(f.mac)]byte(r.take(len(f.mac)))
	switch {
	case r.err != nil:
		return nil, r.err
	case f.check() != nil:
		return nil, ErrEdited
	case len(r.rest) > 0:
		return nil, ErrTrailing
	}
	return f, nil
}

// A reader keeps its first error, and reads zeros from then on.
type reader struct {
	rest []byte
	err  error
}

// begin reads what every version begins with.
func (r *reader) begin() error {
	size := len(r.rest)
	if size == 0 {
		return ErrEmpty
	}
	if n := min(size, len(magic)); !strings.HasPrefix(magic, string(r.rest[:n])) {
		return ErrForeign
	}
	r.take(len(magic))
	version := r.take(1)[0]
	switch {
	case r.err != nil:
		return r.err
	case version > Version:
		return &NewerError{int(version)}
	case version < Version:
		return ErrEdited
	case size > MaxSize:
		return ErrTooLarge
	}
	return nil
}

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.rest) < n {
		r.err = ErrTruncated
	}
	if r.err != nil {
		return make([]byte, n)
	}
	var taken []byte
	taken, r.rest = r.rest[:n:n], r.rest[n:]
	return taken
}

// prefixed reads a length of some bytes and as many bytes.
func (r *reader) prefixed(prefix, least, most int) []byte {
	n := 0
	for _, c := range r.take(prefix) {
		n = n<<8 | int(c)
	}
	if r.err == nil && (n < least || n > most) {
		r.err = ErrEdited
	}
	if r.err != nil {
		return nil
	}
	if len(r.rest) < n { // before take makes so many zeros
		r.err = ErrTruncated
		return nil
	}
	return r.take(n)
}
