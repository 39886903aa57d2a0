//go:build !js

package simulator

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/vault"
)

// model is what the log says that the vault must hold: every leaf is replayed, and
// whatever the vault shows besides or instead is a failure. That is how "nothing
// happens unrecorded, and nothing is recorded that did not happen" is checked.
type model struct {
	frontier audit.Frontier
	heads    [][32]byte // by size of the log
	keys     map[string]*key
	leaves   []audit.Entry
	raw      [][]byte        // leaves, as they are
	byTag    map[string]int  // how many leaves carry a tag
	once     map[string]bool // subjects of what can be done once only, and was
	ways     int             // in, that were added since the beginning
	added    int             // of them, in this world
	made     []string        // kids by keys.create that no answer has claimed
}

type key struct {
	state                  vault.State
	uses                   uint64
	predecessor, successor string
}

func newModel() *model {
	m := &model{keys: map[string]*key{}, byTag: map[string]int{}, once: map[string]bool{}}
	m.heads = append(m.heads, m.frontier.Root())
	return m
}

func (m *model) size() uint64 { return m.frontier.Size() }

// add replays one more leaf, and returns the keys that it is about.
func (m *model) add(leaf []byte) (kids []string, err error) {
	e, err := audit.ParseEntry(leaf)
	if err != nil {
		return nil, fmt.Errorf("leaf %d: %w", m.size(), err)
	}
	if e.Seq != m.size() {
		return nil, fmt.Errorf("leaf %d says that it is leaf %d", m.size(), e.Seq)
	}
	if n := len(m.leaves); n > 0 && e.Time < m.leaves[n-1].Time {
		return nil, fmt.Errorf("leaf %d is older than the one before", e.Seq)
	}
	m.frontier.Append(audit.LeafHash(leaf))
	m.heads = append(m.heads, m.frontier.Root())
	m.leaves, m.raw = append(m.leaves, e), append(m.raw, leaf)
	if e.Outcome != "ok" {
		return nil, nil
	}
	if err := m.replay(e); err != nil {
		return nil, fmt.Errorf("leaf %d (%s): %w", e.Seq, e.Method, err)
	}
	if tag := tagOf(e); tag != "" {
		m.byTag[tag]++
	}
	if e.KID != "" {
		kids = append(kids, e.KID)
	}
	if next := e.Details["successor"]; next != "" {
		kids = append(kids, next)
	}
	return kids, nil
}

// tagOf returns what tells a call's leaf from all others.
func tagOf(e audit.Entry) string {
	return cmp.Or(e.Details["aud"], e.Details["context"], e.Details["reason"])
}

func (m *model) replay(e audit.Entry) error {
	switch e.Method {
	case "keys.create":
		if m.keys[e.KID] != nil {
			return fmt.Errorf("the key exists")
		}
		m.keys[e.KID] = &key{state: vault.Active}
		m.made = append(m.made, e.KID)
		return nil
	case "keys.rotate":
		k, next := m.keys[e.KID], e.Details["successor"]
		if k == nil || k.state != vault.Active || m.keys[next] != nil {
			return fmt.Errorf("%v is replaced by %v", k, m.keys[next])
		}
		k.state, k.successor = vault.Retired, next
		m.once["keys.rotate "+e.KID] = true
		m.keys[next] = &key{state: vault.Active, predecessor: e.KID}
		return nil
	case "keys.revoke":
		k := m.keys[e.KID]
		if k == nil || k.state == vault.Revoked {
			return fmt.Errorf("%v is revoked", k)
		}
		k.state = vault.Revoked
		return nil
	case "jwt.sign", "challenge.sign", "key.agree":
		k := m.keys[e.KID]
		if k == nil || k.state != vault.Active {
			return fmt.Errorf("%v is used", k)
		}
		k.uses++
	case "slots.add":
		m.ways++
		m.added++
	case "slots.remove":
		m.ways--
		m.once["slots.remove "+e.Details["slot"]] = true
	}
	return nil
}

// compare checks that a key is what the log says.
func (m *model) compare(f *vault.Key) error {
	k := m.keys[f.KID]
	if got := (key{f.State, f.Uses, f.Predecessor, f.Successor}); got != *k {
		return fmt.Errorf("a key is %+v, the log says %+v", got, *k)
	}
	if wrapped := len(f.Wrapped) > 0; wrapped != (k.state == vault.Active) {
		return fmt.Errorf("a key that is %s: private half there: %v", k.state, wrapped)
	}
	return nil
}

// kids returns what there is to choose from, in an order that does not depend on the kids.
func (m *model) kids() []string {
	var kids []string
	for _, e := range m.leaves {
		switch {
		case e.Outcome != "ok":
		case e.Method == "keys.create":
			kids = append(kids, e.KID)
		case e.Method == "keys.rotate":
			kids = append(kids, e.Details["successor"])
		}
	}
	return kids
}

// claim takes a made key for the call that was answered with it.
func (m *model) claim(kid string) bool {
	at := slices.Index(m.made, kid)
	if at < 0 {
		return false
	}
	m.made = slices.Delete(m.made, at, at+1)
	return true
}
