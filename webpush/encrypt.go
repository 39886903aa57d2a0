package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Sizes in bytes.
const (
	PublicSize = 65 // an uncompressed point on P-256
	AuthSize   = 16 // the authentication secret of a subscription

	// MaxBody is how large an encrypted message may be that every push service takes (RFC 8030
	// section 7.2).
	MaxBody = 4096
	// MaxMessage is the longest message whose body has at most MaxBody bytes.
	MaxMessage = MaxBody - headerSize - 1 - tagSize

	saltSize   = 16
	tagSize    = 16
	nonceSize  = 12
	headerSize = saltSize + 4 + 1 + PublicSize // RFC 8188 section 2.1, with the sender's key as keyid
)

// What an encrypted message can be refused for.
var (
	// ErrKeys means that a subscription's keys are malformed, or not on the curve.
	ErrKeys = errors.New("webpush: keys of a subscription are not valid")
	// ErrTooLong means that a message has more than MaxMessage bytes, or more than it is to be padded to.
	ErrTooLong = errors.New("webpush: message is too long")
	// ErrDecrypt means that a body is not what was encrypted for these keys.
	ErrDecrypt = errors.New("webpush: message does not decrypt")
)

// Keys are what a subscription gives its senders to encrypt for.
type Keys struct {
	public *ecdh.PublicKey
	auth   [AuthSize]byte
}

// NewKeys takes a subscription's p256dh and auth. ErrKeys if they are not valid.
func NewKeys(p256dh, auth []byte) (*Keys, error) {
	if len(auth) != AuthSize {
		return nil, fmt.Errorf("auth of %d bytes, wanted %d: %w", len(auth), AuthSize, ErrKeys)
	}
	if len(p256dh) != PublicSize {
		return nil, fmt.Errorf("p256dh of %d bytes, wanted %d: %w", len(p256dh), PublicSize, ErrKeys)
	}
	public, err := ecdh.P256().NewPublicKey(p256dh)
	if err != nil {
		return nil, fmt.Errorf("p256dh: %w", ErrKeys)
	}
	return &Keys{public, [AuthSize]byte(auth)}, nil
}

// Public returns p256dh, and Auth the authentication secret.
func (k *Keys) Public() []byte { return k.public.Bytes() }
func (k *Keys) Auth() []byte   { return k.auth[:] }

// Encrypt returns a message as the body of a push request: content coding aes128gcm (RFC
// 8188) in one record, with keys as RFC 8291 section 3.4 derives them, from a key
// pair and a salt that are used once. With size > 0 the message is padded to that many bytes, so that
// the body does not tell its length. ErrTooLong if it has more, or either is more than MaxMessage.
func (k *Keys) Encrypt(message []byte, size int) ([]byte, error) {
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var salt [saltSize]byte
	rand.Read(salt[:]) // never fails
	return k.encrypt(message, size, sender, salt)
}

func (k *Keys) encrypt(message []byte, size int, sender *ecdh.PrivateKey, salt [saltSize]byte) ([]byte, error) {
	if size == 0 {
		size = len(message)
	}
	if len(message) > size || size > MaxMessage {
		return nil, fmt.Errorf("message of %d bytes in %d, at most %d: %w", len(message), size, MaxMessage, ErrTooLong)
	}
	shared, err := sender.ECDH(k.public)
	if err != nil {
		return nil, err
	}
	public := sender.PublicKey().Bytes()
	aead, nonce, err := contentKey(shared, k.auth[:], salt[:], k.public.Bytes(), public)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, headerSize+size+1+tagSize)
	body = append(body, salt[:]...)
	body = binary.BigEndian.AppendUint32(body, MaxBody)
	body = append(body, PublicSize)
	body = append(body, public...)
	record := append(body, message...)
	record = append(record, 2) // the delimiter of the last record
	record = append(record, make([]byte, size-len(message))...)
	return aead.Seal(body, nonce, record[headerSize:], nil), nil
}

// contentKey derives the cipher of a body and the nonce of its one record.
func contentKey(shared, auth, salt, receiver, sender []byte) (cipher.AEAD, []byte, error) {
	const info = "WebPush: info\x00"
	ikm, err := hkdf.Key(sha256.New, shared, auth, info+string(receiver)+string(sender), 32)
	if err != nil {
		return nil, nil, err
	}
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", nonceSize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, nonce, err
}

// Receiver is the other end: what a user agent keeps of a subscription.
type Receiver struct {
	private *ecdh.PrivateKey
	auth    [AuthSize]byte
}

// GenerateReceiver makes the keys of a new subscription.
func GenerateReceiver() (*Receiver, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r := &Receiver{private: private}
	rand.Read(r.auth[:]) // never fails
	return r, nil
}

// NewReceiver takes the keys of a subscription that there is. ErrKeys if they are not of P-256, or
// of another length.
func NewReceiver(private *ecdh.PrivateKey, auth []byte) (*Receiver, error) {
	if private.Curve() != ecdh.P256() || len(auth) != AuthSize {
		return nil, ErrKeys
	}
	return &Receiver{private, [AuthSize]byte(auth)}, nil
}

// Keys returns what senders are given.
func (r *Receiver) Keys() *Keys { return &Keys{r.private.PublicKey(), r.auth} }

// Decrypt returns the message in a body. It takes what RFC 8291 section 4 has senders
// make: one record, whose keyid is the sender's public key. ErrDecrypt for
// anything else.
func (r *Receiver) Decrypt(body []byte) ([]byte, error) {
	if len(body) < headerSize+1+tagSize || body[saltSize+4] != PublicSize {
		return nil, fmt.Errorf("body of %d bytes is not of a push message: %w", len(body), ErrDecrypt)
	}
	salt, size, sender, record := body[:saltSize], binary.BigEndian.Uint32(body[saltSize:]), body[headerSize-PublicSize:headerSize], body[headerSize:]
	if uint64(len(record)) > uint64(size) {
		return nil, fmt.Errorf("more than one record: %w", ErrDecrypt)
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, fmt.Errorf("key of the sender: %w", ErrDecrypt)
	}
	shared, err := r.private.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("key of the sender: %w", ErrDecrypt)
	}
	aead, nonce, err := contentKey(shared, r.auth[:], salt, r.private.PublicKey().Bytes(), sender)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	for end, p := range slices.Backward(plain) {
		switch p {
		case 0: // padding
		case 2:
			return plain[:end], nil
		default:
			return nil, fmt.Errorf("padding: %w", ErrDecrypt)
		}
	}
	return nil, fmt.Errorf("padding: %w", ErrDecrypt)
}
