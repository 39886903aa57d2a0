package vault

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/keyengine"
	"github.com/kms-enclave/kms-enclave/passphrase"
	"github.com/kms-enclave/kms-enclave/store"
)

// headerFormat is the version of the header record that is written. Format 1 had
// device slots only, and is still read; a newer one is refused without being touched.
const headerFormat = 2

// header is the plain record that has to be readable before any key is. It
// tells one vault from another (Instance), says whether the share at hand is
// the right one, and holds the ways in, each wrapped. The ledger's index
// authenticates it as soon as the ledger key is open, which is before anybody is
// asked for a secret. Because the ledger key opens without the user, the vault key
// vouches for it as well, so that nobody who could not open the vault can have chosen
// who else can.
//
// It is stored as JSON, a line feed and the vouch: the base64 of an AES-GCM nonce and
// tag, for no plaintext and the JSON as additional data. Format 1 ends with the JSON.
type header struct {
	Format      int       `json:"format"`
	Instance    []byte    `json:"instance"`          // 16 random bytes
	Lineage     []byte    `json:"lineage,omitzero"`  // 16 bytes: the first instance of a vault that was moved or restored
	CreatedAt   int64     `json:"createdAt"`         // seconds
	Persistence string    `json:"persistence"`       //
	Lock        string    `json:"lock"`              // see relock
	Idle        int64     `json:"idle,omitzero"`     // seconds until it locks by itself
	ShareID     []byte    `json:"shareId"`           //
	Device      []byte    `json:"device"`            // the device secret, wrapped under the device's AES handle
	Slots       []slot    `json:"slots"`             //
	Recovery    *sealed   `json:"recovery,omitzero"` // the vault key once more, for the recovery phrase
	LedgerKey   ledgerKey `json:"ledgerKey"`         //
	AuditKey    auditKey  `json:"auditKey"`          //

	text, vouch []byte // as they were parsed
}

// slot is one way to the vault key.
type slot struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Label     string `json:"label"`
	CreatedAt int64  `json:"createdAt"` // seconds
	// VaultKey is the vault key wrapped under the slot's key-encryption key: of a
	// device slot the device KEK, of any other one the KEK that Sealed gives.
	VaultKey []byte `json:"vaultKey"`

	Sealed  *recipient         `json:"sealed,omitzero"`  // not of a device slot
	Salt    []byte             `json:"salt,omitzero"`    // of Argon2id (16 bytes), or the PRF's input (32 bytes)
	Argon   *passphrase.Params `json:"argon,omitzero"`   // of a passphrase
	Passkey *Passkey           `json:"passkey,omitzero"` //
}

// Passkey is what is kept of a WebAuthn credential.
type Passkey struct {
	Credential []byte `json:"credential"` // its id
	Algorithm  int    `json:"algorithm"`  // COSE: -7 or -8
	Public     []byte `json:"public"`     // raw, as package keyengine has it
}

// recipient is a public key (HPKE, see seal.go) and what was encapsulated to it.
type recipient struct {
	Public []byte `json:"public"` // 1,216 bytes
	Enc    []byte `json:"enc"`    // 1,120 bytes
}

// sealed is the vault key for somebody who needs nothing but a phrase.
type sealed struct {
	recipient
	CreatedAt int64  `json:"createdAt"` // seconds
	Phrase    []byte `json:"phrase"`    // 16 bytes that recognise the phrase
	VaultKey  []byte `json:"vaultKey"`
}

// ledgerKey is wrapped twice: it works while the vault is locked (Device), and
// it can travel with the vault (Vault): see return.go.
type ledgerKey struct {
	Device []byte `json:"device"`
	Vault  []byte `json:"vault"`
}

// auditKey is the Ed25519 key that signs checkpoints, wrapped under the ledger key.
type auditKey struct {
	Public  []byte `json:"public"`
	Wrapped []byte `json:"wrapped"`
}

// Names of the plain records and of the AES handle.
var (
	headerName    = store.Name{Kind: "vault", ID: "-"}
	deviceName    = store.Name{Kind: "device", ID: "-"}
	tombstoneName = store.Name{Kind: "destroyed", ID: "-"}
)

// vouchSize is the length of a vouch in bytes.
const vouchSize = keyengine.NonceSize + keyengine.TagSize

// encode returns the header as it is stored, always in the newest format. vouch is
// given its JSON.
func (h *header) encode(vouch func(text []byte) ([]byte, error)) ([]byte, error) {
	h.Format = headerFormat
	text, err := json.Marshal(h, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	sealed, err := vouch(text)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode(append(text, '\n'), sealed), nil
}

// parseHeader reads the header of a stored value whose format byte is cut off. Its
// vouch has yet to be checked: see Vault.checkVouch.
func parseHeader(b []byte) (*header, error) {
	h := new(header)
	text, vouch, _ := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(text, h, json.RejectUnknownMembers(true)); err != nil {
		return nil, cmp.Or(newerFormat(text), fmt.Errorf("vault header: %w", err))
	}
	if h.Format > headerFormat {
		return nil, newerFormat(text)
	}
	h.text, h.vouch = text, make([]byte, base64.StdEncoding.DecodedLen(len(vouch)))
	n, err := base64.StdEncoding.Strict().Decode(h.vouch, vouch)
	if want := map[bool]int{false: 0, true: vouchSize}[h.Format > 1]; err != nil || n != want {
		return nil, fmt.Errorf("vault header: vouch of %d bytes, %d wanted", n, want)
	}
	h.vouch = h.vouch[:n]
	if h.Format < 1 || len(h.Instance) != 16 || len(h.Slots) == 0 || len(h.Slots) > MaxSlots {
		return nil, fmt.Errorf("vault header: format %d with %d slots", h.Format, len(h.Slots))
	}
	if h.Format == 1 {
		h.Lineage = h.Instance
	}
	if h.Idle == 0 {
		h.Idle = defaultIdle
	}
	return h, h.check()
}

// newerFormat returns store.ErrNewer if that is why a header cannot be read.
func newerFormat(text []byte) error {
	var version struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &version) != nil || version.Format <= headerFormat {
		return nil
	}
	return fmt.Errorf("vault header: format %d, %d wanted: %w", version.Format, headerFormat, store.ErrNewer)
}

// Bounds of Idle, in seconds. What has none is of format 1.
const (
	minIdle     = 60
	defaultIdle = 15 * 60
	maxIdle     = 24 * 60 * 60
)

// check returns an error unless every slot has what its kind needs.
func (h *header) check() error {
	relocked := h.clone()
	relocked.relock()
	switch r := h.Recovery; {
	case len(h.Lineage) != 16:
		return fmt.Errorf("vault header: lineage of %d bytes", len(h.Lineage))
	case h.Idle < minIdle || h.Idle > maxIdle:
		return fmt.Errorf("vault header: it locks after %d s", h.Idle)
	case relocked.Lock != h.Lock:
		return fmt.Errorf("vault header: lock %q with other ways in", h.Lock)
	case r != nil && len(r.Phrase) != 16:
		return fmt.Errorf("vault header: phrase id of %d bytes", len(r.Phrase))
	}
	for _, s := range h.Slots {
		ok := s.Kind == KindDevice
		if s.Sealed != nil && h.Format > 1 {
			ok = (s.Kind == KindPassphrase && s.Argon != nil && s.Argon.Check() == nil) || (s.Kind == KindPasskey && s.Passkey != nil)
		}
		if !ok {
			return fmt.Errorf("vault header: slot %s of kind %s is not complete", s.ID, s.Kind)
		}
	}
	return nil
}

// clone returns a copy whose slots may be changed.
func (h *header) clone() *header {
	c := *h
	c.Slots = slices.Clone(h.Slots)
	if h.Recovery != nil {
		r := *h.Recovery
		c.Recovery = &r
	}
	return &c
}

// find returns the first slot that matches, or nil.
func (h *header) find(match func(*slot) bool) *slot {
	if i := slices.IndexFunc(h.Slots, func(s slot) bool { return match(&s) }); i >= 0 {
		return &h.Slots[i]
	}
	return nil
}

func (h *header) byKind(kind string) *slot {
	return h.find(func(s *slot) bool { return s.Kind == kind })
}

func (h *header) byCredential(id []byte) *slot {
	return h.find(func(s *slot) bool { return s.Passkey != nil && bytes.Equal(s.Passkey.Credential, id) })
}

// relock says how the vault is locked after its slots have changed: not at all
// while the device opens it, else as before as long as there is such a slot.
func (h *header) relock() {
	switch {
	case h.byKind(KindDevice) != nil:
		h.Lock = LockNone
	case h.Lock == LockNone || h.byKind(h.Lock) == nil:
		h.Lock = h.Slots[0].Kind
	}
}
