package enclave

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// What an authenticator says is checked here, in the worker, as WebAuthn Level 3 has
// it in sections 7.1 and 7.2: for this challenge, on this origin, with the user
// present and verified. What opens the vault is the output of the PRF extension, so
// a passkey that gives none is no way in.
//
// Not looked at: which page the frame is in (crossOrigin, topOrigin), because the app may
// be framed itself and its origin is the handshake's matter; whether the credential is
// backed up; the signature counter, which synchronised passkeys do not have; and
// attestation. The public key is the browser's account of it, not the COSE key beside the id.
var (
	// errAssertion: the authenticator's answer is not one to this question.
	errAssertion = errors.New("enclave: not an answer of the passkey to this question")
	// errNoPRF: the passkey cannot give a secret.
	errNoPRF = errors.New("enclave: the passkey has no PRF")
)

// Algorithms of passkeys (COSE).
const (
	coseES256 = -7
	coseEdDSA = -8
)

// Flags of authenticator data (section 6.1).
const (
	flagUP = 1 << 0 // the user was present
	flagUV = 1 << 2 // the user was verified
	flagAT = 1 << 6 // there is attested credential data
)

const (
	prfSize   = 32
	maxCredID = 1023 // bytes of a credential id
)

// checkAssertion checks that the passkey has answered this challenge.
func (e *Enclave) checkAssertion(ctx context.Context, a *prompt.Assertion, key vault.Passkey, challenge []byte) error {
	if err := e.checkClient(a.ClientDataJSON, "webauthn.get", challenge); err != nil {
		return err
	}
	if _, err := e.checkAuthenticator(a.AuthenticatorData, flagUP|flagUV); err != nil {
		return err
	}
	if len(a.PRF) != prfSize {
		return fmt.Errorf("%w: no PRF", errAssertion)
	}
	clientHash := sha256.Sum256(a.ClientDataJSON)
	message := append(bytes.Clone(a.AuthenticatorData), clientHash[:]...)
	alg, signature, err := keyengine.EdDSA, a.Signature, error(nil)
	if key.Algorithm == coseES256 {
		alg = keyengine.ES256
		signature, err = rawSignature(a.Signature)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errAssertion, err)
	}
	valid, err := e.cfg.Engine.Verify(ctx, alg, key.Public, message, signature)
	if err == nil && !valid {
		err = fmt.Errorf("%w: signature", errAssertion)
	}
	return err
}

// checkRegistration checks a new passkey and returns what is kept of it. Attestation
// is not asked for: what vouches for the key is that the user is there to make it.
func (e *Enclave) checkRegistration(ctx context.Context, r *prompt.Registration, challenge []byte) (key vault.Passkey, err error) {
	if err := e.checkClient(r.ClientDataJSON, "webauthn.create", challenge); err != nil {
		return key, err
	}
	rest, err := e.checkAuthenticator(r.AuthenticatorData, flagUP|flagUV|flagAT)
	if err != nil {
		return key, err
	}
	// aaguid:16 ‖ len:u16 ‖ credential id ‖ the key in COSE
	if len(rest) < 18 || len(rest)-18 < int(binary.BigEndian.Uint16(rest[16:])) {
		return key, fmt.Errorf("%w: credential data", errAssertion)
	}
	id := rest[18 : 18+int(binary.BigEndian.Uint16(rest[16:]))]
	if len(id) == 0 || len(id) > maxCredID || !bytes.Equal(id, r.ID) {
		return key, fmt.Errorf("%w: credential id", errAssertion)
	}
	public, err := publicOf(r.Algorithm, r.PublicKey)
	if err != nil {
		return key, fmt.Errorf("%w: %w", errAssertion, err)
	}
	key = vault.Passkey{Credential: bytes.Clone(id), Algorithm: r.Algorithm, Public: public}
	if r.Used != nil && len(r.Used.PRF) > 0 {
		if !bytes.Equal(r.Used.ID, id) {
			return key, fmt.Errorf("%w: another passkey was used", errAssertion)
		}
		r.PRF = r.Used.PRF
		return key, e.checkAssertion(ctx, r.Used, key, challenge)
	}
	if len(r.PRF) != prfSize {
		return key, errNoPRF
	}
	return key, nil
}

// checkClient checks the client data (section 5.8.1). Members that are not known here
// are allowed, as the standard demands.
func (e *Enclave) checkClient(text []byte, kind string, challenge []byte) error {
	var client struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
	}
	if err := json.Unmarshal(text, &client); err != nil {
		return fmt.Errorf("%w: client data: %w", errAssertion, err)
	}
	switch {
	case client.Type != kind:
		return fmt.Errorf("%w: type %q", errAssertion, client.Type)
	case len(challenge) == 0 || client.Challenge != base64.RawURLEncoding.EncodeToString(challenge):
		return fmt.Errorf("%w: challenge", errAssertion)
	case client.Origin != e.cfg.Self:
		return fmt.Errorf("%w: origin %q", errAssertion, client.Origin)
	}
	return nil
}

// checkAuthenticator checks the head of authenticator data (section 6.1), rpIdHash:32
// ‖ flags:1 ‖ signCount:4, and returns what is behind it. The counter is not looked
// at: passkeys that are synchronised have none.
func (e *Enclave) checkAuthenticator(data []byte, flags byte) (rest []byte, err error) {
	if len(data) < 37 {
		return nil, fmt.Errorf("%w: %d bytes of authenticator data", errAssertion, len(data))
	}
	rp := sha256.Sum256([]byte(hostOf(e.cfg.Self)))
	switch {
	case !bytes.Equal(data[:32], rp[:]):
		return nil, fmt.Errorf("%w: another relying party", errAssertion)
	case data[32]&flags != flags:
		return nil, fmt.Errorf("%w: flags %#x, %#x wanted", errAssertion, data[32], flags)
	}
	return data[37:], nil
}

// hostOf returns the host of an origin: the relying party's id.
func hostOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	host, _, _ = strings.Cut(host, ":")
	return host
}

// SubjectPublicKeyInfo of the two kinds of keys, up to the key (RFC 5480, RFC 8410).
var (
	spkiP256    = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00")
	spkiEd25519 = []byte("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00")
)

// publicOf returns the raw public key of a SubjectPublicKeyInfo.
func publicOf(algorithm int, spki []byte) ([]byte, error) {
	prefix, size := spkiP256, keyengine.ES256.PublicSize()
	switch algorithm {
	case coseES256:
	case coseEdDSA:
		prefix, size = spkiEd25519, keyengine.EdDSA.PublicSize()
	default:
		return nil, fmt.Errorf("algorithm %d", algorithm)
	}
	raw, ok := bytes.CutPrefix(spki, prefix)
	if !ok || len(raw) != size {
		return nil, fmt.Errorf("public key of %d bytes in another form", len(spki))
	}
	return bytes.Clone(raw), nil
}

// rawSignature returns r‖s of an ECDSA-Sig-Value in DER (RFC 3279 section 2.2.3), in
// its one encoding.
func rawSignature(der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errors.New("signature: not a sequence")
	}
	raw := make([]byte, keyengine.SignatureSize)
	rest, err := derInteger(der[2:], raw[:32])
	if err != nil {
		return nil, err
	}
	if rest, err = derInteger(rest, raw[32:]); err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("signature: something behind it")
	}
	return raw, nil
}

// derInteger reads a positive integer into out, big-endian, and returns what is behind it.
func derInteger(b, out []byte) (rest []byte, err error) {
	if len(b) < 3 || b[0] != 0x02 || int(b[1]) > len(b)-2 || b[1] == 0 {
		return nil, errors.New("signature: not an integer")
	}
	n, rest := b[2:2+int(b[1])], b[2+int(b[1]):]
	switch {
	case n[0] >= 0x80, n[0] == 0 && (len(n) == 1 || n[1] < 0x80):
		return nil, errors.New("signature: not a positive integer in its shortest form")
	}
	n = bytes.TrimLeft(n, "\x00")
	if len(n) > len(out) {
		return nil, errors.New("signature: integer too long")
	}
	copy(out[len(out)-len(n):], n)
	return rest, nil
}
