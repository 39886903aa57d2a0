package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// OriginPrefix begins the name of every log. What follows is the thumbprint
// (RFC 7638) of the public key that signs its heads, so that a name cannot be
// claimed with another key.
const OriginPrefix = "kms-enclave/audit/"

// Errors that callers branch on.
var (
	// ErrKey: not the canonical verifier key of a log.
	ErrKey = errors.New("audit: not a verifier key of an audit log")
	// ErrCheckpoint: not a checkpoint of an audit log.
	ErrCheckpoint = errors.New("audit: not a checkpoint of an audit log")
	// ErrSignature: the checkpoint is not signed by the log's key.
	ErrSignature = errors.New("audit: the signature of the checkpoint does not verify")
)

// Checkpoint is a signed head, opened (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string   // name of the log
	Size   uint64   // entries
	Root   [32]byte // Merkle Tree Hash
}

// LogName returns the name of the log whose heads are signed by an Ed25519 key.
func LogName(public []byte) (string, error) {
	if len(public) != ed25519.PublicKeySize {
		return "", fmt.Errorf("audit key: %d bytes, %d wanted", len(public), ed25519.PublicKeySize)
	}
	// RFC 7638 section 3.1 and RFC 8037 section 2: the required members, in order.
	jwk := `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`
	thumbprint := sha256.Sum256([]byte(jwk))
	return OriginPrefix + base64.RawURLEncoding.EncodeToString(thumbprint[:]), nil
}

// VerifierKey returns the note verifier key ("name+hash+key", C2SP signed-note)
// of an Ed25519 public key.
func VerifierKey(public []byte) (string, error) {
	name, err := LogName(public)
	if err != nil {
		return "", err
	}
	return note.NewEd25519VerifierKey(name, public)
}

// parseVerifierKey accepts exactly what VerifierKey produces, and returns the
// name of the log.
func parseVerifierKey(key string) (name string, err error) {
	name, rest, _ := strings.Cut(key, "+")
	_, encoded, _ := strings.Cut(rest, "+")
	typed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(typed) == 0 {
		return "", ErrKey
	}
	// The first byte is the signature type; a canonical key has the only one known.
	if canonical, err := VerifierKey(typed[1:]); err != nil || canonical != key {
		return "", ErrKey
	}
	return name, nil
}

// NewSigner adapts a private key that can only be asked to sign, as a key handle
// in a browser can, to the interface of package note.
func NewSigner(public []byte, sign func(message []byte) (signature []byte, err error)) (note.Signer, error) {
	key, err := VerifierKey(public)
	if err != nil {
		return nil, err
	}
	name, rest, _ := strings.Cut(key, "+")
	hash, err := strconv.ParseUint(rest[:8], 16, 32)
	return &signer{name, uint32(hash), sign}, err
}

type signer struct {
	name string
	hash uint32
	sign func([]byte) ([]byte, error)
}

func (s *signer) Name() string    { return s.name }
func (s *signer) KeyHash() uint32 { return s.hash }

func (s *signer) Sign(message []byte) ([]byte, error) {
	signature, err := s.sign(message)
	if err == nil && len(signature) != ed25519.SignatureSize {
		err = fmt.Errorf("audit signature: %d bytes, %d wanted", len(signature), ed25519.SignatureSize)
	}
	return signature, err
}

// SignCheckpoint returns the head of a log as a signed note.
func SignCheckpoint(s note.Signer, size uint64, root [32]byte) (string, error) {
	signed, err := note.Sign(&note.Note{Text: formatCheckpoint(Checkpoint{s.Name(), size, root})}, s)
	return string(signed), err
}

// OpenCheckpoint verifies a signed note with a verifier key, and returns what it
// says. Signatures by other keys are not looked at.
func OpenCheckpoint(signed, key string) (Checkpoint, error) {
	name, err := parseVerifierKey(key)
	if err != nil {
		return Checkpoint{}, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return Checkpoint{}, ErrKey
	}
	c, err := parseSigned(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, ErrSignature
	}
	if opened.Text != formatCheckpoint(c) || c.Origin != name {
		return Checkpoint{}, ErrCheckpoint
	}
	return c, nil
}

// parseSigned reads the text of a signed note without verifying it.
func parseSigned(signed string) (Checkpoint, error) {
	// The text ends at the last blank line (C2SP signed-note).
	end := strings.LastIndex(signed, "\n\n")
	if end < 0 {
		return Checkpoint{}, ErrCheckpoint
	}
	return parseCheckpoint(signed[:end+1])
}

// formatCheckpoint returns the text that is signed: origin, size and root, one
// per line. This log has no extension lines.
func formatCheckpoint(c Checkpoint) string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + tlog.Hash(c.Root).String() + "\n"
}

// parseCheckpoint accepts exactly what formatCheckpoint produces.
func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], OriginPrefix) {
		return Checkpoint{}, ErrCheckpoint
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	c := Checkpoint{lines[0], size, root}
	if errors.Join(err, err2) != nil || size > MaxSize || formatCheckpoint(c) != text {
		return Checkpoint{}, ErrCheckpoint
	}
	return c, nil
}
