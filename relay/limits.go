package relay

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are how many requests each user and each address may make.
type limits struct {
	users, addresses *buckets
}

func newLimits(l Limits) *limits {
	return &limits{newBuckets(l.UserRate, l.UserBurst), newBuckets(l.AddressRate, l.AddressBurst)}
}

// buckets are limiters by name, at most two times maxBuckets of them. Those that were not asked for while
// maxBuckets others were are forgotten; who is forgotten begins with a full one.
type buckets struct {
	rate  rate.Limit
	burst int

	mu            sync.Mutex
	young, former map[string]*rate.Limiter
}

const maxBuckets = 50_000

func newBuckets(perSecond float64, burst int) *buckets {
	return &buckets{rate: rate.Limit(perSecond), burst: burst, young: map[string]*rate.Limiter{}}
}

func (b *buckets) get(name string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, ok := b.young[name]; ok {
		return l
	}
	l, ok := b.former[name]
	if !ok {
		l = rate.NewLimiter(b.rate, b.burst)
	}
	if len(b.young) >= maxBuckets {
		b.former, b.young = b.young, map[string]*rate.Limiter{}
	}
	b.young[name] = l
	return l
}

// take returns errTooMany, with how long to wait, unless a request may be made now.
func (b *buckets) take(name string) error {
	reservation := b.get(name).Reserve()
	if wait := reservation.Delay(); wait > 0 {
		reservation.Cancel()
		return errTooMany.after(wait)
	}
	return nil
}

// clientAddress is whom a request counts for: the address of the connection, or the last one in X-Forwarded-For that is not
// a trusted proxy's if the connection comes from one. Of IPv6 the /64, which one client has to itself.
func (r *Relay) clientAddress(q *http.Request) string {
	from, err := netip.ParseAddrPort(q.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := from.Addr().Unmap()
	hops := strings.Split(strings.Join(q.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && r.trusted(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	if addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

func (r *Relay) trusted(addr netip.Addr) bool {
	for _, p := range r.config.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// streams counts open event streams.
type streams struct {
	limits Limits
	mu     sync.Mutex
	all    int
	users  map[string]int
}

func newStreams(l Limits) *streams { return &streams{limits: l, users: map[string]int{}} }

// open counts one more; errTooMany if the user has as many as may be, errUnavailable if all have.
func (s *streams) open(kid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.limits.Streams {
		return errUnavailable.with("too many event streams are open").after(time.Minute)
	}
	if s.users[kid] >= s.limits.UserStreams {
		return errTooMany.with("%d event streams of this user are open", s.limits.UserStreams).after(10 * time.Second)
	}
	s.all++
	s.users[kid]++
	return nil
}

func (s *streams) close(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.users[kid]--; s.users[kid] == 0 {
		delete(s.users, kid)
	}
}
