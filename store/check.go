package store

import (
	"errors"
	"fmt"
)

// Bounds that every implementation enforces.
const (
	MaxVault   = 128
	MaxKind    = 32
	MaxID      = 128
	MaxRecords = 1000 // what Limit 0 means
)

// ErrName: a name is outside the rules of [Name]. Because ids are ASCII, a
// store that orders strings by UTF-16 code units orders them bytewise.
var ErrName = errors.New("store: not a name")

// Check reports whether a name is well-formed.
func (n Name) Check() error {
	if !isKind(n.Kind) {
		return fmt.Errorf("%w: kind %q, 1 to %d of a–z and - wanted", ErrName, n.Kind, MaxKind)
	}
	if n.ID == "" {
		return fmt.Errorf("%w: empty id of kind %s", ErrName, n.Kind)
	}
	return checkID(n.ID)
}

// Check reports whether everything that a batch names is well-formed.
func (b *Batch) Check() error {
	if err := CheckVault(b.Vault); err != nil {
		return err
	}
	if err := b.Expect.Check(); err != nil {
		return err
	}
	for i := range b.Put {
		if err := b.Put[i].Check(); err != nil {
			return err
		}
	}
	for i := range b.Handles {
		if err := b.Handles[i].Check(); err != nil {
			return err
		}
	}
	return CheckNames(b.Vault, b.Delete)
}

// CheckNames checks a vault id and names inside that vault.
func CheckNames(vault string, names []Name) error {
	if err := CheckVault(vault); err != nil {
		return err
	}
	for _, n := range names {
		if err := n.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check reports whether a range is well-formed, and returns it with its limit
// made explicit.
func (r Range) Check() (Range, error) {
	if !isKind(r.Kind) {
		return r, fmt.Errorf("%w: kind %q, 1 to %d of a–z and - wanted", ErrName, r.Kind, MaxKind)
	}
	if err := errors.Join(checkID(r.First), checkID(r.Last)); err != nil {
		return r, err
	}
	if r.Limit <= 0 {
		r.Limit = MaxRecords
	}
	return r, nil
}

// CheckVault reports whether a vault id can be part of a name. Its length is
// the business of package vault.
func CheckVault(vault string) error {
	if vault == "" || len(vault) > MaxVault || !isPrintable(vault) {
		return fmt.Errorf("%w: vault %q, 1 to %d printable ASCII characters wanted", ErrName, vault, MaxVault)
	}
	return nil
}

func checkID(id string) error {
	if len(id) > MaxID || !isPrintable(id) {
		return fmt.Errorf("%w: id %q, at most %d printable ASCII characters wanted", ErrName, id, MaxID)
	}
	return nil
}

func isKind(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= MaxKind
}

func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
