package passphrase

import (
	"sync"
	"time"
)

// Strength says what passphrases cost.
type Strength interface {
	// New returns the parameters of a new passphrase.
	New() Params
	// Raised returns the parameters that a passphrase which has these ought to have,
	// if they are well above them; took is how long these have taken.
	Raised(has Params, took time.Duration) (Params, bool)
}

// Machine is the strength that this machine can bear. The zero value is ready; it
// measures once.
type Machine struct {
	once  sync.Once
	found Params
}

// New implements Strength.
func (m *Machine) New() Params {
	m.once.Do(func() {
		m.found = Calibrate(func(p Params) time.Duration {
			began := time.Now()
			_, _ = Derive("", make([]byte, MinSalt), p) // its parameters are the floor's
			return time.Since(began)
		})
	})
	return m.found
}

// Raised implements Strength. It takes half as much again to be worth the change.
func (m *Machine) Raised(has Params, took time.Duration) (Params, bool) {
	if took >= Target*2/3 {
		return has, false
	}
	p := Calibrate(func(floor Params) time.Duration {
		return time.Duration(uint64(took) * floor.cost() / has.cost())
	})
	return p, p.Stronger(has) && p.cost()*2 >= has.cost()*3
}

// Fixed is the same strength on every machine, for tests.
type Fixed Params

// New implements Strength.
func (f Fixed) New() Params { return Params(f) }

// Raised implements Strength: it raises what is below.
func (f Fixed) Raised(has Params, _ time.Duration) (Params, bool) {
	return Params(f), Params(f).Stronger(has)
}
