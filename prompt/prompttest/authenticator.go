package prompttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/kms-enclave/kms-enclave/prompt"
)

// Authenticator is one in software, with the PRF extension, that does what it is
// told: no user has to touch it.
type Authenticator struct {
	Origin string // of the page that asks
	NoPRF  bool   // as those that cannot
	EdDSA  bool   // what it makes keys for; ES256 otherwise
	// Forge changes the client data and the authenticator data before they are
	// signed, if set: what a page, or an authenticator, does that lies.
	Forge func(client, data []byte) (forgedClient, forgedData []byte)

	mu   sync.Mutex
	keys map[string]*credential // by id
}

// Copy makes another one that has the same passkeys.
func (a *Authenticator) Copy() *Authenticator {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &Authenticator{Origin: a.Origin, NoPRF: a.NoPRF, EdDSA: a.EdDSA, Forge: a.Forge, keys: maps.Clone(a.keys)}
}

type credential struct {
	private crypto.Signer
	prf     []byte
}

func (a *Authenticator) generate() (private crypto.Signer, algorithm int, err error) {
	if a.EdDSA {
		_, private, err = ed25519.GenerateKey(rand.Reader)
		return private, -8, err
	}
	private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return private, -7, err
}

// sign signs as the algorithm of a credential says: of ES256 the hash.
func (c *credential) sign(message []byte) ([]byte, error) {
	if _, ok := c.private.(ed25519.PrivateKey); ok {
		return c.private.Sign(nil, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	return c.private.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// Create makes a passkey (WebAuthn Level 3 section 6.3.2).
func (a *Authenticator) Create(s prompt.NewPasskey) *prompt.Registration {
	private, algorithm, err := a.generate()
	if err != nil {
		panic(err)
	}
	id, prf := make([]byte, 32), make([]byte, 32)
	_, _ = rand.Read(id)
	_, _ = rand.Read(prf)
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys == nil {
		a.keys = map[string]*credential{}
	}
	c := &credential{private, prf}
	a.keys[string(id)] = c
	data := append(a.data(0x45), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(id))), id...)
	client, data := a.forged(a.client("webauthn.create", s.Challenge), append(data, 0xa0))
	return &prompt.Registration{
		ID: id, ClientDataJSON: client, AuthenticatorData: data,
		PublicKey: public, Algorithm: algorithm, PRF: a.evaluate(c, s.Salt),
	}
}

// Get answers for the first passkey that it has (section 6.3.3), or gives an answer of no passkey.
func (a *Authenticator) Get(p prompt.Proof) *prompt.Assertion {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, wanted := range p.Passkeys {
		c := a.keys[string(wanted.ID)]
		if c == nil {
			continue
		}
		client, data := a.forged(a.client("webauthn.get", p.Challenge), a.data(0x05))
		hash := sha256.Sum256(client)
		signature, err := c.sign(append(append([]byte{}, data...), hash[:]...))
		if err != nil {
			panic(err)
		}
		return &prompt.Assertion{
			ID: wanted.ID, ClientDataJSON: client, AuthenticatorData: data, Signature: signature, PRF: a.evaluate(c, wanted.Salt),
		}
	}
	return &prompt.Assertion{}
}

func (a *Authenticator) evaluate(c *credential, salt []byte) []byte {
	if a.NoPRF {
		return nil
	}
	mac := hmac.New(sha256.New, c.prf)
	mac.Write(salt)
	return mac.Sum(nil)
}

func (a *Authenticator) forged(client, data []byte) (forgedClient, forgedData []byte) {
	if a.Forge == nil {
		return client, data
	}
	return a.Forge(client, data)
}

func (a *Authenticator) client(kind string, challenge []byte) []byte {
	return fmt.Appendf(nil, `{"type":%q,"challenge":%q,"origin":%q,"crossOrigin":true}`, kind, base64.RawURLEncoding.EncodeToString(challenge), a.Origin)
}

func (a *Authenticator) data(flags byte) []byte {
	_, host, _ := strings.Cut(a.Origin, "://")
	rp := sha256.Sum256([]byte(host))
	return append(append(rp[:], flags), 0, 0, 0, 1)
}
