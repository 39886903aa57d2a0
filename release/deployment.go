package release

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Deployment is what each operator decides, and no measurement covers.
type Deployment struct {
	// FrameAncestors are the origins of the apps that may embed the release.
	// Empty: none may. It is not what keeps apps apart: each gets the vaults
	// of its own origin, whoever else may embed.
	FrameAncestors []string `json:"frameAncestors"`
	// Origin is the public origin of the deployment; empty if it is not known
	// when the headers are written.
	Origin string `json:"origin,omitzero"`
}

// Check returns an error unless every origin is one. See checkOrigin and checkAncestor.
func (d Deployment) Check() error {
	for _, origin := range d.FrameAncestors {
		if err := checkAncestor(origin); err != nil {
			return fmt.Errorf("frame-ancestors: %w", err)
		}
		if origin == d.Origin {
			return fmt.Errorf("frame-ancestors: %s is the enclave's own origin; an app on it could read the enclave's storage", origin)
		}
	}
	if d.Origin == "" {
		return nil
	}
	if err := checkOrigin(d.Origin); err != nil {
		return fmt.Errorf("public origin: %w", err)
	}
	return nil
}

// A host is a name or an IPv4 address in lower case: the source expressions of
// CSP know no IPv6 (CSP3 section 2.3.1), and engines differ in how they spell
// anything else back, which the loader compares.
var hostForm = regexp.MustCompile(`\A(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\z`)

// numericForm is a host that browsers take for an IPv4 address (URL Standard,
// "ends in a number").
var numericForm = regexp.MustCompile(`(\A|\.)([0-9]+|0x[0-9a-f]*)\z`)

func portNumber(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

// checkOrigin returns an error unless s is the ASCII serialisation of an origin
// (RFC 6454 section 6.2): scheme://host or scheme://host:port, http or https,
// lower case, without the scheme's default port.
func checkOrigin(s string) error {
	if strings.Contains(s, "*") {
		return fmt.Errorf("origin: got %q, wanted one origin, not a pattern", s)
	}
	return checkAncestor(s)
}

// checkAncestor returns an error unless s is an origin that may embed: as
// checkOrigin, or with "*." for the subdomains of a name with two labels or more.
func checkAncestor(s string) error {
	if s == "*" || s == "'self'" || s == "'none'" {
		return fmt.Errorf("origin: got %s, which is not allowed: say who may embed, for instance https://app.example", s)
	}
	if foreign := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == ';' || c == ',' }); foreign >= 0 {
		return fmt.Errorf("origin: got %q, wanted printable ASCII without spaces, commas and semicolons (a name in its xn-- form)", s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("origin: got %q, wanted scheme://host, for instance https://app.example", s)
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("origin: got %q with scheme %s, wanted http or https", s, u.Scheme)
	case !hostForm.MatchString(host):
		return fmt.Errorf("origin: got %q with host %q, wanted a name or an IPv4 address in lower case", s, host)
	case strings.HasPrefix(host, "*.") && strings.Count(host, ".") < 2:
		return fmt.Errorf("origin: got %q, wanted at least two labels after the wildcard, as in https://*.app.example", s)
	case numericForm.MatchString(host) && net.ParseIP(host) == nil:
		return fmt.Errorf("origin: got %q with host %q, wanted a name, or an IPv4 address of four numbers", s, host)
	case portNumber(u.Port()) > 65535:
		return fmt.Errorf("origin: got %q with port %q, wanted 1 to 65535", s, u.Port())
	case strings.HasSuffix(u.Host, ":") || u.Port() == "0" || len(u.Port()) > 5 || strings.HasPrefix(u.Port(), "0"):
		return fmt.Errorf("origin: got %q with port %q, wanted none or 1 to 65535", s, u.Port())
	case u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443":
		return fmt.Errorf("origin: got %q, wanted it without the default port", s)
	case s != u.Scheme+"://"+u.Host:
		return fmt.Errorf("origin: got %q, wanted %q: no path, query, fragment or user", s, u.Scheme+"://"+u.Host)
	}
	return nil
}

// frameAncestors returns the value of the directive.
func (d Deployment) frameAncestors() string {
	if len(d.FrameAncestors) == 0 {
		return "'none'"
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(d.FrameAncestors))), " ")
}
