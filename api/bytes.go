package api

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Bytes is binary data in a request or reply: base64url without padding
// (RFC 4648 section 5). Decoding accepts only the canonical encoding.
type Bytes []byte

var encoding = base64.RawURLEncoding.Strict()

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) {
	return encoding.AppendEncode(nil, b), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	// The standard decoder skips line breaks; a second spelling of the same
	// bytes is not canonical.
	if strings.ContainsAny(string(text), "\r\n") {
		return errors.New("base64url without padding wanted, got a line break")
	}
	decoded, err := encoding.AppendDecode(make([]byte, 0, encoding.DecodedLen(len(text))), text)
	if err != nil {
		return errors.New("base64url without padding wanted")
	}
	*b = decoded
	return nil
}

// String returns the encoded form.
func (b Bytes) String() string { return encoding.EncodeToString(b) }
