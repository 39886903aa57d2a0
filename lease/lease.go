// Package lease is what a user has allowed relays to be given: which tokens, how long,
// how many. It holds no key and knows no storage; package vault keeps a [Book] of a
// vault's leases beside their keys, in one record.
//
// A lease binds one key, one relay and one push service. It is given for some time, can be
// renewed while it runs, and ends for good [MaxLife] after it was granted, whatever is done:
//
//	granted ──┬── renewed … ──> expired, by ExpiresAt ≤ GrantedAt + MaxLife
//	          └── ended: revoked, or its key was replaced or revoked
//
// Nothing revives a lease that has expired or ended, and no token outlives its lease. How many
// tokens there may be is counted over all leases of the vault, so that another lease gives no
// more of them; each lease says at which count it stops.
//
// Times are seconds since 1970. A Book keeps the largest that it was ever given and takes none
// below it, so a clock that is set back gives nobody more time.
package lease

import (
	"errors"
	"fmt"
	"slices"
)

// Limits of terms. Lives and durations are in seconds.
const (
	DefaultLife  = 12 * 60 * 60
	MinLife      = 5 * 60
	MaxLife      = 30 * 24 * 60 * 60 // from granting, through all renewals
	DefaultToken = 15 * 60
	MinToken     = 60
	MaxToken     = 24 * 60 * 60 // RFC 8292 section 2
	DefaultHour  = 60
	MaxHour      = 240
	DefaultDay   = 500
	MaxDay       = 2000
	MaxLeases    = 32 // in a book, those that ended included
)

// Errors about leases.
var (
	ErrNone    = errors.New("lease: there is no such lease")
	ErrExpired = errors.New("lease: it has expired")
	ErrEnded   = errors.New("lease: it was ended")
	ErrPlace   = errors.New("lease: it is for another relay or push service")
	ErrLong    = errors.New("lease: the token would live longer than it may")
	ErrQuota   = errors.New("lease: too many tokens")
	ErrFull    = errors.New("lease: too many leases run")
	ErrTerms   = errors.New("lease: terms are out of bounds")
	ErrKey     = errors.New("lease: the key belongs to another relay, or the relay has another key")
	ErrExists  = errors.New("lease: the relay has a lease of this key")
)

// Why a lease ended.
type Why string

// The reasons.
const (
	Revoked    Why = "revoked"     // by the user
	KeyRetired Why = "key-retired" // its key was replaced
	KeyRevoked Why = "key-revoked" // its key was revoked
	Moved      Why = "moved"       // its vault came back from a copy, without the lease's own key
)

// Terms are what the user agrees to.
type Terms struct {
	KID     string `json:"kid"`     // of the one key that signs under it
	Relay   string `json:"relay"`   // origin; the audience of relay tokens
	Service string `json:"service"` // origin of the push service; the audience of push tokens
	Token   int64  `json:"token"`   // longest life of a token
	PerHour int    `json:"perHour"` // it stops when that many tokens were given within an hour
	PerDay  int    `json:"perDay"`  // and within a day
}

func (t Terms) check() error {
	for _, n := range []struct{ got, least, most int64 }{
		{t.Token, MinToken, MaxToken}, {int64(t.PerHour), 1, MaxHour}, {int64(t.PerDay), 1, MaxDay},
	} {
		if n.got < n.least || n.got > n.most {
			return fmt.Errorf("%d, %d to %d wanted: %w", n.got, n.least, n.most, ErrTerms)
		}
	}
	if t.KID == "" || t.Relay == "" || t.Service == "" || t.Relay == t.Service {
		return fmt.Errorf("no key, relay or push service, or one for both: %w", ErrTerms)
	}
	return nil
}

// Lease is one permission, and what became of it.
type Lease struct {
	ID string `json:"id"`
	Terms
	GrantedAt int64 `json:"grantedAt"`
	ExpiresAt int64 `json:"expiresAt"`
	EndedAt   int64 `json:"endedAt,omitzero"` // 0 unless it was ended before it expired
	Why       Why   `json:"why,omitzero"`

	PushTokens  uint64 `json:"pushTokens,omitzero"`  // given so far
	RelayTokens uint64 `json:"relayTokens,omitzero"` // given so far
	Refused     uint64 `json:"refused,omitzero"`     // asked for in vain
	LastUsedAt  int64  `json:"lastUsedAt,omitzero"`
}

// Runs returns nil if tokens can be given at that time, else ErrEnded or ErrExpired.
func (l *Lease) Runs(now int64) error {
	switch {
	case l.EndedAt != 0:
		return ErrEnded
	case now >= l.ExpiresAt:
		return ErrExpired
	}
	return nil
}

// Until returns when it ends at the latest, however often it is renewed.
func (l *Lease) Until() int64 { return l.GrantedAt + MaxLife }

// Book holds the leases of one vault. Its JSON form is the record that is stored.
type Book struct {
	Leases []Lease `json:"leases"` // in the order in which they were granted
	Used   []Count `json:"used"`   // see usage.go
	Seen   int64   `json:"seen"`   // the largest time it was given
}

// Now returns the time to go by, and keeps it: never less than any before.
func (b *Book) Now(clock int64) int64 {
	b.Seen = max(b.Seen, clock)
	return b.Seen
}

// Find returns a lease, or ErrNone. It is the book's own, and moves with the next Grant.
func (b *Book) Find(id string) (*Lease, error) {
	at := slices.IndexFunc(b.Leases, func(l Lease) bool { return l.ID == id })
	if at < 0 {
		return nil, ErrNone
	}
	return &b.Leases[at], nil
}

// Grant adds a lease that runs for life seconds. One key serves one relay, and a relay has one key
// at a time: ErrKey, or ErrExists if that lease runs already. Where the book is full
// the one that ended first makes room, ErrFull if all of them run.
func (b *Book) Grant(id string, t Terms, life, clock int64) (*Lease, error) {
	now := b.Now(clock)
	if err := t.check(); err != nil {
		return nil, err
	}
	if life < MinLife || life > MaxLife {
		return nil, fmt.Errorf("life of %d s, %d to %d wanted: %w", life, MinLife, MaxLife, ErrTerms)
	}
	for i := range b.Leases {
		if err := b.Leases[i].besides(t, now); err != nil {
			return nil, err
		}
	}
	if len(b.Leases) >= MaxLeases {
		over := slices.IndexFunc(b.Leases, func(l Lease) bool { return l.Runs(now) != nil })
		if over < 0 {
			return nil, ErrFull
		}
		b.Leases = slices.Delete(b.Leases, over, over+1)
	}
	b.Leases = append(b.Leases, Lease{ID: id, Terms: t, GrantedAt: now, ExpiresAt: now + life})
	return &b.Leases[len(b.Leases)-1], nil
}

// besides returns an error if l stands against another lease with these terms.
func (l *Lease) besides(t Terms, now int64) error {
	runs := l.Runs(now) == nil
	switch {
	case l.KID == t.KID && l.Relay != t.Relay:
		return ErrKey
	case runs && l.Relay == t.Relay && l.KID != t.KID:
		return ErrKey
	case runs && l.KID == t.KID:
		return ErrExists
	}
	return nil
}

// Renew lets a lease that runs go on for life seconds from now, but not beyond Until. It is never
// made shorter.
func (b *Book) Renew(id string, life, clock int64) (*Lease, error) {
	now := b.Now(clock)
	l, err := b.Find(id)
	if err == nil {
		err = l.Runs(now)
	}
	if err != nil {
		return nil, err
	}
	if life < MinLife || life > MaxLife {
		return nil, fmt.Errorf("life of %d s, %d to %d wanted: %w", life, MinLife, MaxLife, ErrTerms)
	}
	l.ExpiresAt = max(l.ExpiresAt, min(now+life, l.Until()))
	return l, nil
}

// EndKey ends every lease of a key that has not ended, and returns the ids of all that the key had.
func (b *Book) EndKey(kid string, why Why, clock int64) (ids []string) {
	now := b.Now(clock)
	for i := range b.Leases {
		if l := &b.Leases[i]; l.KID == kid {
			l.end(why, now)
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// EndAll ends every lease that has not ended, and returns the ids of all.
func (b *Book) EndAll(why Why, clock int64) (ids []string) {
	now := b.Now(clock)
	for i := range b.Leases {
		b.Leases[i].end(why, now)
		ids = append(ids, b.Leases[i].ID)
	}
	return ids
}

func (l *Lease) end(why Why, now int64) {
	if l.EndedAt == 0 {
		l.EndedAt, l.Why = max(now, 1), why
	}
}

// Use is what tokens are asked for.
type Use struct {
	Audience string
	Relay    bool  // for the relay itself; otherwise for the push service
	Expires  int64 // when they do
	Count    int   // how many, 1 at least
}

// Issue counts tokens that are about to be given, all or none. What a lease does not cover
// is ErrPlace, ErrLong or ErrQuota.
func (b *Book) Issue(id string, u Use, clock int64) (*Lease, error) {
	now := b.Now(clock)
	l, err := b.Find(id)
	if err == nil {
		err = l.Allows(u, now)
	}
	if err != nil {
		return nil, err
	}
	if within(b.Used, now, hour)+u.Count > l.PerHour || within(b.Used, now, day)+u.Count > l.PerDay {
		return nil, ErrQuota
	}
	b.Used = add(b.Used, now, u.Count)
	l.LastUsedAt = now
	if u.Relay {
		l.RelayTokens += uint64(u.Count)
	} else {
		l.PushTokens += uint64(u.Count)
	}
	return l, nil
}

// Allows returns what stands against tokens at that time, leaving their number aside: as Issue.
func (l *Lease) Allows(u Use, now int64) error {
	place := l.Service
	if u.Relay {
		place = l.Relay
	}
	switch err := l.Runs(now); {
	case err != nil:
		return err
	case u.Audience != place:
		return ErrPlace
	case u.Expires > l.ExpiresAt || u.Expires-now > l.Token || u.Expires <= now:
		return ErrLong
	case u.Count < 1:
		return ErrQuota
	}
	return nil
}

// Refuse counts tokens that were asked for in vain. Of a lease that is not there nothing is kept.
func (b *Book) Refuse(id string, n int) {
	if l, err := b.Find(id); err == nil {
		l.Refused += uint64(n)
	}
}
