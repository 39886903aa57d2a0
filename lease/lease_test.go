package lease

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func terms(kid, relay string) Terms {
	return Terms{KID: kid, Relay: relay, Service: "https://push.example", Token: DefaultToken, PerHour: DefaultHour, PerDay: DefaultDay}
}

func TestLife(t *testing.T) {
	b := new(Book)
	l, err := b.Grant("a", terms("k", "https://relay.example"), DefaultLife, 1000)
	if err != nil || l.ExpiresAt != 1000+DefaultLife {
		t.Fatalf("%+v, %v", l, err)
	}
	use := Use{Audience: "https://push.example", Expires: 1000 + DefaultToken, Count: 1}
	for _, test := range []struct {
		name string
		use  Use
		now  int64
		want error
	}{
		{"as allowed", use, 1000, nil},
		{"another service", Use{Audience: "https://other.example", Expires: 1001, Count: 1}, 1000, ErrPlace},
		{"for the relay", Use{Audience: "https://relay.example", Relay: true, Expires: 1000 + DefaultToken, Count: 1}, 1000, nil},
		{"for the relay, too long", Use{Audience: "https://relay.example", Relay: true, Expires: 1001 + DefaultToken, Count: 1}, 1000, ErrLong},
		{"the relay as push service", Use{Audience: "https://relay.example", Expires: 1001, Count: 1}, 1000, ErrPlace},
		{"a second too long", Use{Audience: use.Audience, Expires: use.Expires + 1, Count: 1}, 1000, ErrLong},
		{"beyond the lease", Use{Audience: use.Audience, Expires: l.ExpiresAt + 1, Count: 1}, l.ExpiresAt - 1, ErrLong},
		{"up to its end", Use{Audience: use.Audience, Expires: l.ExpiresAt, Count: 1}, l.ExpiresAt - 1, nil},
		{"expired already", Use{Audience: use.Audience, Expires: 1000, Count: 1}, 1000, ErrLong},
		{"none", Use{Audience: use.Audience, Expires: 1001}, 1000, ErrQuota},
		{"at its end", Use{Audience: use.Audience, Expires: l.ExpiresAt + 1, Count: 1}, l.ExpiresAt, ErrExpired},
	} {
		if err := l.Allows(test.use, test.now); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, wanted %v", test.name, err, test.want)
		}
	}
}

func TestTerms(t *testing.T) {
	for name, change := range map[string]func(*Terms, *int64){
		"no key":            func(t *Terms, _ *int64) { t.KID = "" },
		"no relay":          func(t *Terms, _ *int64) { t.Relay = "" },
		"no service":        func(t *Terms, _ *int64) { t.Service = "" },
		"one for both":      func(t *Terms, _ *int64) { t.Service = t.Relay },
		"token too short":   func(t *Terms, _ *int64) { t.Token = MinToken - 1 },
		"token too long":    func(t *Terms, _ *int64) { t.Token = MaxToken + 1 },
		"none an hour":      func(t *Terms, _ *int64) { t.PerHour = 0 },
		"too many an hour":  func(t *Terms, _ *int64) { t.PerHour = MaxHour + 1 },
		"none a day":        func(t *Terms, _ *int64) { t.PerDay = 0 },
		"too many a day":    func(t *Terms, _ *int64) { t.PerDay = MaxDay + 1 },
		"life too short":    func(_ *Terms, life *int64) { *life = MinLife - 1 },
		"life too long":     func(_ *Terms, life *int64) { *life = MaxLife + 1 },
		"life of no length": func(_ *Terms, life *int64) { *life = 0 },
	} {
		b, with, life := new(Book), terms("k", "https://relay.example"), int64(DefaultLife)
		change(&with, &life)
		if _, err := b.Grant("a", with, life, 1000); !errors.Is(err, ErrTerms) || len(b.Leases) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeys: a key serves one relay, and a relay has one key at a time.
func TestKeys(t *testing.T) {
	b := new(Book)
	grant := func(id, kid, relay string) error {
		_, err := b.Grant(id, terms(kid, relay), DefaultLife, 1000)
		return err
	}
	for i, step := range []struct {
		kid, relay string
		want       error
	}{
		{"k1", "https://a.example", nil},
		{"k1", "https://a.example", ErrExists},
		{"k1", "https://b.example", ErrKey},
		{"k2", "https://a.example", ErrKey},
		{"k2", "https://b.example", nil},
	} {
		if err := grant(fmt.Sprint(i), step.kid, step.relay); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, wanted %v", i, err, step.want)
		}
	}
	if ids := b.EndKey("k1", KeyRetired, 1001); !slices.Equal(ids, []string{"0"}) {
		t.Errorf("ended %v", ids)
	}
	if err := grant("5", "k1", "https://b.example"); !errors.Is(err, ErrKey) {
		t.Errorf("the key of an ended lease for another relay: %v", err)
	}
	if err := grant("6", "k3", "https://a.example"); err != nil {
		t.Errorf("a new key for the same relay: %v", err)
	}
}

func TestFull(t *testing.T) {
	b := new(Book)
	for i := range MaxLeases {
		if _, err := b.Grant(fmt.Sprint(i), terms(fmt.Sprint("k", i), fmt.Sprintf("https://r%d.example", i)), DefaultLife, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Grant("x", terms("kx", "https://x.example"), DefaultLife, 1000); !errors.Is(err, ErrFull) {
		t.Errorf("all run: %v", err)
	}
	b.EndKey("k7", Revoked, 1001)
	if _, err := b.Grant("x", terms("kx", "https://x.example"), DefaultLife, 1002); err != nil || len(b.Leases) != MaxLeases {
		t.Errorf("one ended: %v, %d leases", err, len(b.Leases))
	}
	if _, err := b.Find("7"); !errors.Is(err, ErrNone) {
		t.Errorf("the one that ended: %v", err)
	}
}

// issued is a token as somebody outside the book remembers it.
type issued struct{ at, expires int64 }

// history checks a book from outside: whatever is called in whatever order, with a clock that
// jumps both ways, no token is beyond what was allowed.
type history struct {
	*testing.T
	rng    *rand.Rand
	book   *Book
	clock  int64
	latest int64 // largest that the clock has shown, to the book as well
	tokens []issued
	dead   map[string]bool // expired or ended once, as seen from outside
}

func (h *history) step(ids, kids []string) {
	h.clock += int64(h.rng.IntN(7)-2) * []int64{1, 30, 300, 3000, 3000, 20_000, 200_000}[h.rng.IntN(7)]
	h.clock = max(h.clock, 0)
	h.latest = h.book.Now(h.clock)
	for i := range h.book.Leases {
		if l := &h.book.Leases[i]; h.latest >= l.ExpiresAt {
			h.dead[l.ID] = true
		}
	}
	id, kid := ids[h.rng.IntN(len(ids))], kids[h.rng.IntN(len(kids))]
	switch h.rng.IntN(20) {
	case 0, 1:
		id = fmt.Sprint("lease", len(ids), h.rng.Uint32())
		t := terms(kid, "https://"+kid+".example")
		t.PerHour, t.PerDay, t.Token = 1+h.rng.IntN(20), 1+h.rng.IntN(60), MinToken+int64(h.rng.IntN(MaxToken))
		_, _ = h.book.Grant(id, t, int64(h.rng.IntN(2*MaxLife)), h.clock)
	case 2:
		_, err := h.book.Renew(id, int64(h.rng.IntN(2*MaxLife)), h.clock)
		if err == nil && h.dead[id] {
			h.Fatalf("lease %s was renewed after it had ended", id)
		}
	case 3:
		for _, ended := range h.book.EndKey(kid, KeyRetired, h.clock) {
			h.dead[ended] = true
		}
	default:
		h.issue(id)
	}
}

func (h *history) issue(id string) {
	l, err := h.book.Find(id)
	if err != nil {
		return
	}
	granted := *l
	u := Use{Audience: l.Service, Relay: h.rng.IntN(4) == 0, Expires: h.clock + int64(h.rng.IntN(2*MaxToken))>>h.rng.IntN(8), Count: 1 + h.rng.IntN(4)}
	if u.Relay {
		u.Audience = l.Relay
	}
	if _, err := h.book.Issue(id, u, h.clock); err != nil {
		return
	}
	for range u.Count {
		h.tokens = append(h.tokens, issued{h.latest, u.Expires})
	}
	lastHour, lastDay := 0, 0
	for _, t := range h.tokens {
		if t.at > h.latest-hour {
			lastHour++
		}
		if t.at > h.latest-day {
			lastDay++
		}
	}
	switch {
	case h.dead[id]:
		h.Fatalf("a token of a lease that had ended")
	case u.Expires > granted.ExpiresAt || u.Expires > granted.GrantedAt+MaxLife:
		h.Fatalf("a token until %d of a lease until %d, granted at %d", u.Expires, granted.ExpiresAt, granted.GrantedAt)
	case u.Expires-h.latest > granted.Token:
		h.Fatalf("a token that lives %d s, %d allowed", u.Expires-h.latest, granted.Token)
	case lastHour > granted.PerHour || lastDay > granted.PerDay:
		h.Fatalf("%d tokens an hour and %d a day, %d and %d allowed", lastHour, lastDay, granted.PerHour, granted.PerDay)
	}
}

// TestNothingBeyondPolicy is many such histories.
func TestNothingBeyondPolicy(t *testing.T) {
	given, ended := 0, 0
	for seed := range uint64(400) {
		h := &history{T: t, rng: rand.New(rand.NewPCG(seed, 0)), book: new(Book), clock: 1e9, latest: 1e9, dead: map[string]bool{}}
		for range 300 {
			ids := []string{"none"}
			for _, l := range h.book.Leases {
				ids = append(ids, l.ID)
			}
			h.step(ids, []string{"k1", "k2", "k3"})
			if h.rng.IntN(5) == 0 { // as it is stored
				text, err := json.Marshal(h.book)
				again := new(Book)
				if err = errors.Join(err, json.Unmarshal(text, again)); err != nil {
					t.Fatal(err)
				}
				h.book = again
			}
		}
		given, ended = given+len(h.tokens), ended+len(h.dead)
	}
	if given < 10_000 || ended < 2000 {
		t.Errorf("%d tokens, %d leases that ended: too few to show anything", given, ended)
	}
	t.Logf("%d tokens, %d leases that ended", given, ended)
}

// TestWindow: an hour is one from whichever second, and a slot counts to its end.
func TestWindow(t *testing.T) {
	b, allowed := new(Book), terms("k", "https://relay.example")
	allowed.PerHour = 1
	if _, err := b.Grant("a", allowed, DefaultLife, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		now  int64
		want error
	}{{slot - 1, nil}, {slot, ErrQuota}, {slot - 1 + hour - 1, ErrQuota}, {slot + hour, nil}} {
		if _, err := b.Issue("a", Use{Audience: "https://push.example", Expires: test.now + 60, Count: 1}, test.now); !errors.Is(err, test.want) {
			t.Errorf("at %d: %v, wanted %v", test.now, err, test.want)
		}
	}
	if lastHour, lastDay := b.Counts(slot + hour); lastHour != 1 || lastDay != 2 {
		t.Errorf("%d within the hour, %d within the day", lastHour, lastDay)
	}
}

// TestClockSetBack: an expired lease stays so.
func TestClockSetBack(t *testing.T) {
	b := new(Book)
	l, err := b.Grant("a", terms("k", "https://relay.example"), MinLife, 1000)
	if err != nil {
		t.Fatal(err)
	}
	use := Use{Audience: "https://push.example", Expires: 1100, Count: 1}
	_, err = b.Issue("a", Use{Audience: use.Audience, Expires: l.ExpiresAt + 10, Count: 1}, l.ExpiresAt)
	if !errors.Is(err, ErrExpired) {
		t.Fatal(err)
	}
	if _, err := b.Issue("a", use, 1050); !errors.Is(err, ErrExpired) {
		t.Errorf("the clock was set back: %v", err)
	}
	if _, err := b.Renew("a", MinLife, 1050); !errors.Is(err, ErrExpired) {
		t.Errorf("renewed with a clock that was set back: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	b := new(Book)
	if _, err := b.Grant("a", terms("k", "https://relay.example"), MinLife, 1000); err != nil {
		t.Fatal(err)
	}
	b.Refuse("a", 3)
	b.Refuse("b", 3)
	if b.Leases[0].Refused != 3 || len(b.Leases) != 1 {
		t.Errorf("%+v", b.Leases)
	}
}

// FuzzBook: what is read is written the same.
func FuzzBook(f *testing.F) {
	b := new(Book)
	if _, err := b.Grant("a", terms("k", "https://relay.example"), DefaultLife, 1000); err != nil {
		f.Fatal(err)
	}
	if _, err := b.Issue("a", Use{Audience: "https://push.example", Expires: 1100, Count: 2}, 1000); err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, second := new(Book), new(Book)
		if json.Unmarshal(text, first, json.RejectUnknownMembers(true)) != nil {
			return
		}
		written, err := json.Marshal(first)
		if err = errors.Join(err, json.Unmarshal(written, second)); err != nil || (len(first.Leases)+len(first.Used) > 0 && !reflect.DeepEqual(first, second)) {
			t.Errorf("%s becomes %s: %v", text, written, err)
		}
	})
}
