package passphrase

import (
	"errors"
	"fmt"
	"time"
)

// Params are what is chosen of Argon2id's cost; they are stored beside the salt.
type Params struct {
	MemoryKiB uint32 `json:"memoryKiB"` // m of RFC 9106, in KiB
	Passes    uint32 `json:"passes"`    // t of RFC 9106
}

// Floor is the least that is accepted, Ceiling the most: parameters are read from
// storage, where somebody may have put others.
var (
	Floor   = Params{MemoryKiB: 19 << 10, Passes: 2}
	Ceiling = Params{MemoryKiB: 256 << 10, Passes: 16}
)

// Target is how long Calibrate lets a derivation take.
const Target = 500 * time.Millisecond

// ErrParams means parameters below Floor or above Ceiling.
var ErrParams = errors.New("cost is out of bounds")

// Check returns ErrParams unless both parameters are within bounds.
func (p Params) Check() error {
	if p.MemoryKiB < Floor.MemoryKiB || p.MemoryKiB > Ceiling.MemoryKiB || p.Passes < Floor.Passes || p.Passes > Ceiling.Passes {
		return fmt.Errorf("%d KiB and %d passes, wanted %d to %d and %d to %d: %w", p.MemoryKiB, p.Passes,
			Floor.MemoryKiB, Ceiling.MemoryKiB, Floor.Passes, Ceiling.Passes, ErrParams)
	}
	return nil
}

// cost is the number of blocks of 1 KiB that are computed. Time is proportional to it.
func (p Params) cost() uint64 { return uint64(p.MemoryKiB) * uint64(p.Passes) }

// Stronger reports whether p costs more than other and takes no less memory. Of two
// parameters at most one is stronger, so a slot that is raised whenever it
// can be is not raised for ever.
func (p Params) Stronger(other Params) bool {
	return p.MemoryKiB >= other.MemoryKiB && p.cost() > other.cost()
}

// memories are what Calibrate chooses from, in KiB: 64 MiB of RFC 9106's second
// recommendation (section 4), 46 and 19 MiB of OWASP's list, and one between.
var memories = []uint32{64 << 10, 46 << 10, 32 << 10, 19 << 10}

// Calibrate chooses the most memory with which two passes fit into Target,
// and as many passes as fit. Where not even Floor does, it is Floor. measure
// says how long a derivation takes, and is called once, with Floor.
func Calibrate(measure func(Params) time.Duration) Params {
	took := max(measure(Floor), time.Microsecond)
	budget := Floor.cost() * uint64(Target) / uint64(took)
	for _, memory := range memories {
		if passes := budget / uint64(memory); passes >= uint64(Floor.Passes) {
			return Params{memory, uint32(min(passes, uint64(Ceiling.Passes)))}
		}
	}
	return Floor
}
