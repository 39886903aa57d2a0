package lease

import "slices"

// Tokens are counted per slot of five minutes. A slot counts as long as any of it lies within
// the hour or the day before now, so no hour and no day has more tokens than a lease allows.
const (
	slot = 5 * 60
	hour = 60 * 60
	day  = 24 * hour
)

// Count is how many tokens were given within one slot.
type Count struct {
	Slot int64 `json:"slot"` // its beginning, divided by its length
	N    int   `json:"n"`
}

// within returns how many tokens were given within the last span seconds.
func within(used []Count, now, span int64) (n int) {
	for _, c := range used {
		if (c.Slot+1)*slot > now-span {
			n += c.N
		}
	}
	return n
}

// add counts n more, and forgets what is older than a day.
func add(used []Count, now int64, n int) []Count {
	used = slices.DeleteFunc(slices.Clone(used), func(c Count) bool { return (c.Slot+1)*slot <= now-day })
	if last := len(used) - 1; last >= 0 && used[last].Slot == now/slot {
		used[last].N += n
		return used
	}
	return append(used, Count{now / slot, n})
}

// Counts returns how many tokens all leases gave within the last hour, and within the last day.
func (b *Book) Counts(clock int64) (lastHour, lastDay int) {
	now := max(b.Seen, clock)
	return within(b.Used, now, hour), within(b.Used, now, day)
}
