// Package mirrortest keeps a mirror in tests as an app's SDK does (sdk/mirror.js): it takes
// in what every tab tells of its commits, in whatever order, and reads everything where
// something is missing. What it keeps is always one state of the vault, whole. It is of one life
// of one vault: what the SDK does about another one, about an older one, and about size, is not here.
package mirrortest

import (
	"iter"
	"maps"
	"slices"

	"github.com/kms-enclave/kms-enclave/api"
)

// Mirror is what an app keeps of one vault. The zero value keeps nothing.
type Mirror struct {
	State
	Whole   int // how often everything was read
	reading *State
	goal    int64 // commit at which what is being read is whole; 0 while pages are missing
	waiting []change
}

// State is the records of a vault as they were at one commit.
type State struct {
	Vault   string // "": none is kept
	Commit  int64
	Records map[string]string // by name
}

type change struct {
	vault string
	api.MirrorChange
}

// Clone returns a copy that nothing changes.
func (s *State) Clone() *State { return &State{s.Vault, s.Commit, maps.Clone(s.Records)} }

// Take takes in what a tab told. It reports whether the mirror is the vault's newest
// state; if not, changes are missing or have yet to come from another tab.
func (m *Mirror) Take(told api.MirrorChanges) (current bool) {
	for _, c := range told.Changes {
		m.waiting = append(m.waiting, change{told.Vault, c})
	}
	m.catchUp()
	return m.Vault == told.Vault && m.Commit >= told.Commit
}

// Page takes in a page of all records; first begins to read them.
func (m *Mirror) Page(page api.MirrorRecords, first bool) {
	if first {
		m.Whole++
		m.reading, m.goal = &State{page.Vault, page.Commit, map[string]string{}}, 0
	}
	for _, r := range page.Records {
		m.reading.Records[r.Name] = string(r.Value)
	}
}

// Finish ends reading: goal is the vault's newest commit after the last page was read.
func (m *Mirror) Finish(goal int64) {
	m.goal = goal
	m.catchUp()
}

func (m *Mirror) catchUp() {
	if m.reading == nil || m.goal == 0 {
		m.advance(&m.State)
		return
	}
	if m.advance(m.reading); m.reading.Commit >= m.goal {
		m.State, m.reading, m.goal = *m.reading, nil, 0
	}
}

// advance takes changes in for as long as one fits.
func (m *Mirror) advance(s *State) {
	for {
		at := slices.IndexFunc(m.waiting, func(c change) bool { return c.vault == s.Vault && c.From <= s.Commit && c.To > s.Commit })
		if at < 0 {
			break
		}
		c := m.waiting[at]
		for _, name := range c.Removed {
			delete(s.Records, name)
		}
		for _, r := range c.Put {
			s.Records[r.Name] = string(r.Value)
		}
		s.Commit = c.To
	}
	oldest := s
	if m.reading != nil {
		oldest = m.reading
	}
	m.waiting = slices.DeleteFunc(m.waiting, func(c change) bool { return c.vault != oldest.Vault || c.To <= oldest.Commit })
}

// Offers returns what is kept, in portions for mirror.offer.
func (s *State) Offers() iter.Seq[api.MirrorOfferParams] {
	return func(yield func(api.MirrorOfferParams) bool) {
		first := true
		for names := range slices.Chunk(slices.Sorted(maps.Keys(s.Records)), 20) {
			p := api.MirrorOfferParams{First: first}
			for _, name := range names {
				p.Records = append(p.Records, api.MirrorRecord{Name: name, Value: api.Bytes(s.Records[name])})
			}
			if !yield(p) {
				return
			}
			first = false
		}
	}
}
