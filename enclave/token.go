package enclave

import (
	"cmp"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/vault"
)

// registered are the claims of RFC 7519 section 4.1, folded. The enclave sets
// those it vouches for; none of them is taken from the caller's claims.
var registered = []string{"ISS", "SUB", "AUD", "EXP", "NBF", "IAT", "JTI"}

// checkClaims refuses a claim that some verifier would take for a registered
// one, and two that it would take for one another: which of them it believes is
// not for the caller to choose.
func checkClaims(p *api.SignJWTParams) *api.Error {
	total := 0
	seen := make(map[string]bool, len(p.Claims))
	for name, value := range p.Claims {
		member := func() string { return string(jsontext.Pointer("/params/claims").AppendToken(name)) }
		like := folded(name)
		if slices.Contains(registered, like) {
			return invalid(member(), "a registered claim, or one that differs from it in letter case only; the enclave sets it")
		}
		if seen[like] {
			return invalid(member(), "differs from another claim in letter case, \"-\" or \"_\" only; rename one")
		}
		seen[like] = true
		total += len(name) + len(value)
	}
	if total > api.MaxClaims {
		return invalid("/params/claims", "%d bytes, at most %d allowed", total, api.MaxClaims)
	}
	for _, m := range []struct{ member, value string }{{"/params/audience", p.Audience}, {"/params/subject", p.Subject}} {
		if !isPlainText(m.value) {
			return invalid(m.member, "control characters are not allowed")
		}
	}
	return nil
}

// folded returns the same text for all names that a verifier may hold for one.
// Go's encoding/json matches members as [strings.EqualFold] does, json/v2 on
// request without "-" and "_" as well; other languages compare upper-case text,
// in which a dotless i is an I and a sharp s is two letters.
func folded(name string) string {
	var b []rune
	for _, r := range name {
		switch r {
		case '-', '_':
			continue
		case '\u0130', '\u0131':
			r = 'I'
		case '\u00df', '\u1e9e':
			b, r = append(b, 'S'), 'S'
		}
		b = append(b, fold(r))
	}
	return string(b)
}

// fold returns the smallest of the runes that fold to one another.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

func isPlainText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) })
}

// tokenClaims are what a caller has a say in.
type tokenClaims struct {
	Audience, Subject string
	TTL               int64 // seconds; within policy
	Extra             map[string]jsontext.Value
	Type              string // "typ" of the header; typJWT if empty
}

// Types of tokens (RFC 7515 section 4.1.9, RFC 8725 section 3.11).
const (
	typJWT   = "JWT"
	typRelay = "kms-relay+jwt"
)

// token is a JWS (RFC 7515) in compact serialisation before its signature.
type token struct {
	input []byte // BASE64URL(header) ‖ "." ‖ BASE64URL(payload), the JWS signing input
	exp   int64
	jti   string
}

// newToken builds a JWT (RFC 7519). alg and kid come from the key; exp, iat
// and jti are set here. Extra must hold no registered claim.
func newToken(random io.Reader, now int64, s *vault.Signer, c tokenClaims) (token, error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return token{}, err
	}
	t := token{jti: base64.RawURLEncoding.EncodeToString(nonce), exp: now + c.TTL}
	payload, err := c.payload(now, t)
	if err != nil {
		return token{}, err
	}
	// alg, kid and typ are our own words and base64url: nothing to escape.
	header := `{"alg":"` + string(s.Alg) + `","kid":"` + s.KID + `","typ":"` + cmp.Or(c.Type, typJWT) + `"}`
	t.input = base64.RawURLEncoding.AppendEncode(nil, []byte(header))
	t.input = base64.RawURLEncoding.AppendEncode(append(t.input, '.'), payload)
	return t, nil
}

// payload returns the JWT Claims Set.
func (c *tokenClaims) payload(now int64, t token) ([]byte, error) {
	b, err := jsontext.AppendQuote([]byte(`{"aud":`), c.Audience)
	b = strconv.AppendInt(append(b, `,"exp":`...), t.exp, 10)
	b = strconv.AppendInt(append(b, `,"iat":`...), now, 10)
	b = append(append(append(b, `,"jti":"`...), t.jti...), '"')
	if c.Subject != "" && err == nil {
		b, err = jsontext.AppendQuote(append(b, `,"sub":`...), c.Subject)
	}
	if len(c.Extra) > 0 && err == nil {
		var extra []byte
		if extra, err = json.Marshal(c.Extra, json.Deterministic(true)); err == nil {
			b = append(append(b, ','), extra[1:len(extra)-1]...)
		}
	}
	return append(b, '}'), err
}

func (t token) join(signature []byte) string {
	return string(base64.RawURLEncoding.AppendEncode(append(t.input, '.'), signature))
}

// authority returns host and port of an https URL in printable ASCII. It is
// stricter than RFC 3986 and the URL Standard, where those differ, so that what
// is signed here is what every push service reads: no backslash, no user
// information, no scheme or port in a second spelling.
func authority(member, text string) (host, port string, failure *api.Error) {
	rest, ok := strings.CutPrefix(text, "https://")
	if !ok || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }) {
		return "", "", invalid(member, "an https URL in printable ASCII wanted")
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if strings.Contains(rest, "@") {
		return "", "", invalid(member, "user information is not allowed")
	}
	host, port, ok = strings.Cut(rest, ":")
	if n, err := strconv.ParseUint(port, 10, 16); ok && (err != nil || n == 0 || port[0] == '0') {
		return "", "", invalid(member, "a port from 1 to 65535 wanted, or none")
	}
	if !isHostname(host) {
		return "", "", invalid(member, "a host name in ASCII wanted")
	}
	return strings.ToLower(host), port, nil
}

// relayOrigin takes the origin of a relay, in its one form: https, or http for one on this
// device.
func relayOrigin(relay string) (string, *api.Error) {
	const member = "/params/relay"
	if rest, ok := strings.CutPrefix(relay, "http://"); ok {
		host, port, failure := authority(member, "https://"+rest)
		if failure != nil || (host != "localhost" && host != "127.0.0.1") || relay != "http://"+joinPort(host, port, "80") {
			return "", invalid(member, "an https origin wanted, or http on localhost")
		}
		return relay, nil
	}
	host, port, failure := authority(member, relay)
	if failure == nil && relay != "https://"+joinPort(host, port, "443") {
		failure = invalid(member, "an origin wanted: scheme, host and port in lower case, and nothing else")
	}
	return relay, failure
}

func joinPort(host, port, common string) string {
	if port == "" || port == common {
		return host
	}
	return host + ":" + port
}

// endpointOrigin returns the origin of a push endpoint: the audience of a VAPID
// token (RFC 8292 section 2).
func endpointOrigin(endpoint string) (string, *api.Error) {
	host, port, failure := authority("/params/endpoint", endpoint)
	if failure != nil {
		return "", failure
	}
	return "https://" + joinPort(host, port, "443"), nil
}

// checkContact accepts what the strictest push service accepts as "sub": a
// mailto: or https: URI of somebody who can be reached on the internet.
func checkContact(subject string) *api.Error {
	const member = "/params/subject"
	var domain string
	if address, ok := strings.CutPrefix(subject, "mailto:"); ok {
		local, host, found := strings.Cut(address, "@")
		if !found || !isMailLocal(local) {
			return invalid(member, "mailto:name@domain wanted")
		}
		domain = host
	} else {
		var failure *api.Error
		if domain, _, failure = authority(member, subject); failure != nil || strings.ContainsAny(subject, "\"<>^`{|}") {
			return invalid(member, "a mailto: or https: URI wanted")
		}
	}
	if !isHostname(domain) || !isPublicDomain(strings.ToLower(domain)) {
		return invalid(member, "a public domain wanted; push services refuse localhost, addresses and reserved names")
	}
	return nil
}

// isMailLocal accepts the dot-atom of RFC 5322 section 3.2.3 without the
// characters that a URI would have to escape.
func isMailLocal(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".!$&'*+-=_~", rune(c)) {
			return false
		}
	}
	return true
}

// isHostname accepts a host name of RFC 1123 section 2.1 in ASCII.
func isHostname(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// reservedTLDs can never be reached (RFC 2606, RFC 6761, RFC 6762, RFC 9476).
var reservedTLDs = []string{"localhost", "invalid", "test", "example", "local", "internal", "alt", "onion", "arpa"}

func isPublicDomain(domain string) bool {
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 {
		return false
	}
	tld := domain[dot+1:]
	numeric := strings.Trim(tld, "0123456789") == "" // an IPv4 address
	return !numeric && len(tld) >= 2 && !slices.Contains(reservedTLDs, tld)
}
