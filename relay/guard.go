package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errForbiddenAddress means that a push service's name leads to an address that no public service has.
var errForbiddenAddress = errors.New("relay: the address is not a public one")

// notPublic are the networks that a push service is never in, of those in 0.0.0.0/0 and 2000::/3 (the IANA
// special-purpose registries, RFC 6890). All other IPv6 is refused as a whole: loopback, link-local, unique local,
// multicast, and the prefixes of RFC 6052 and RFC 8215, which lead to any IPv4 address through a NAT64.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", // Teredo, ORCHID and others
	"2001:db8::/32", "2002::/16", "3fff::/20",
)

var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// isPublic reports whether a push service may have an address.
func isPublic(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap() // ::ffff:10.0.0.1 is 10.0.0.1
	if a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// publicOnly is the Control of a net.Dialer: it sees every address after DNS, right before it is connected to.
func publicOnly(network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || !isPublic(to.Addr()) {
		return fmt.Errorf("%s: %w", network, errForbiddenAddress)
	}
	return nil
}

// dialer connects to push services: public ones, or those that the configuration calls private.
func dialer(private bool, resolver *net.Resolver) *net.Dialer {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Resolver: resolver}
	if !private {
		d.Control = publicOnly
	}
	return d
}
