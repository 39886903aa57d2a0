package vault

import (
	"encoding/json/v2"
	"fmt"

	"github.com/kms-enclave/kms-enclave/store"
)

// headerFormat is the version of the header record. A newer one is refused
// without being touched.
const headerFormat = 1

// header is the plain record that has to be readable before any key is. It
// tells one vault from another (Instance), says whether the share at hand is
// the right one, and holds the ways in, each wrapped. The ledger's index
// authenticates it as soon as the ledger key is open.
type header struct {
	Format      int       `json:"format"`
	Instance    []byte    `json:"instance"`  // 16 random bytes
	CreatedAt   int64     `json:"createdAt"` // seconds
	Persistence string    `json:"persistence"`
	Lock        string    `json:"lock"`
	ShareID     []byte    `json:"shareId"`
	Device      []byte    `json:"device"` // the device secret, wrapped under the device's AES handle
	Slots       []slot    `json:"slots"`
	LedgerKey   ledgerKey `json:"ledgerKey"`
	AuditKey    auditKey  `json:"auditKey"`
}

// slot is one way to the vault key.
type slot struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Label     string `json:"label"`
	CreatedAt int64  `json:"createdAt"` // seconds
	VaultKey  []byte `json:"vaultKey"`  // wrapped under the slot's key-encryption key
}

// ledgerKey is wrapped twice: it works while the vault is locked (Device), and
// it travels with the vault (Vault).
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

func (h *header) encode() ([]byte, error) { return json.Marshal(h, json.Deterministic(true)) }

// parseHeader reads the header of a stored value whose format byte is cut off.
func parseHeader(b []byte) (*header, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("vault header: %w", err)
	}
	if version.Format > headerFormat {
		return nil, fmt.Errorf("vault header: format %d, %d wanted: %w", version.Format, headerFormat, store.ErrNewer)
	}
	h := new(header)
	if err := json.Unmarshal(b, h, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("vault header: %w", err)
	}
	if h.Format != headerFormat || len(h.Instance) != 16 || len(h.Slots) == 0 {
		return nil, fmt.Errorf("vault header: format %d with %d slots", h.Format, len(h.Slots))
	}
	return h, nil
}
