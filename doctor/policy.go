package doctor

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/kms-enclave/kms-enclave/verify"
)

// policy is one Content Security Policy: directive → sources (CSP3 section 2.2).
type policy map[string][]string

// parsePolicies parses the values of headers and meta elements: policies are
// separated by commas, directives by semicolons, and the first of a name counts.
func parsePolicies(values []string) []policy {
	var all []policy
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			p := policy{}
			for directive := range strings.SplitSeq(text, ";") {
				words := strings.Fields(directive)
				if len(words) == 0 {
					continue
				}
				name := strings.ToLower(words[0])
				if _, again := p[name]; !again {
					p[name] = words[1:]
				}
			}
			if len(p) > 0 {
				all = append(all, p)
			}
		}
	}
	return all
}

// sources returns the sources that govern a kind of request, by the fallbacks
// of CSP3 section 6.8.3. ok is false if nothing does.
func (p policy) sources(names ...string) (sources []string, ok bool) {
	for _, name := range append(names, "default-src") {
		if sources, ok := p[name]; ok {
			return sources, true
		}
	}
	return nil, false
}

// allows reports whether a list of sources allows a URL of another origin
// (CSP3 section 6.7.2.7, without redirects).
func allows(sources []string, u *url.URL) bool {
	for _, s := range sources {
		if allowsOne(strings.ToLower(s), u) {
			return true
		}
	}
	return false
}

func allowsOne(source string, u *url.URL) bool {
	if source == "*" || source == u.Scheme+":" {
		return true
	}
	scheme, rest, hasScheme := strings.Cut(source, "://")
	if !hasScheme {
		rest = source
	} else if scheme != u.Scheme && !(scheme == "http" && u.Scheme == "https") {
		return false
	}
	hostPort, path, hasPath := strings.Cut(rest, "/")
	host, port, hasPort := strings.Cut(hostPort, ":")
	switch {
	case hasPort && port != "*" && port != portOf(u), !hasPort && portOf(u) != defaultPort(u.Scheme):
		return false
	case strings.HasPrefix(host, "*."):
		if !strings.HasSuffix(u.Hostname(), host[1:]) {
			return false
		}
	case host != u.Hostname():
		return false
	}
	if !hasPath || path == "" {
		return true
	}
	if strings.HasSuffix(path, "/") {
		return strings.HasPrefix(u.Path, "/"+path)
	}
	return u.Path == "/"+path
}

func portOf(u *url.URL) string {
	if u.Port() != "" {
		return u.Port()
	}
	return defaultPort(u.Scheme)
}

func defaultPort(scheme string) string {
	return map[string]string{"http": "80", "https": "443"}[scheme]
}

func (e *examination) policies() []policy {
	return parsePolicies(append(e.page.header.Values("Content-Security-Policy"), e.page.metaPolicies...))
}

// checkPolicy looks at the app's own policies.
func (e *examination) checkPolicy() {
	all := e.policies()
	if len(all) == 0 {
		e.say(Warning, "csp", "Send one; docs/embedding.md has an example.", "The app has no Content-Security-Policy: a script that gets in can do anything, the enclave's methods included.")
		return
	}
	scripts, frames := false, false
	for _, p := range all {
		if sources, ok := p.sources("script-src"); ok && !hasAny(sources, "'unsafe-inline'", "'unsafe-eval'", "*", "https:", "http:", "data:", "blob:") {
			scripts = true
		}
		if e.enclave == nil {
			continue
		}
		e.checkDirective(p, "frame-src", "child-src")
		e.checkDirective(p, "connect-src")
		sources, ok := p.sources("frame-src", "child-src")
		if ok && e.onlyEnclave(sources) {
			frames = true
		}
		if ok && allows(sources, e.enclave) && !hasAny(sources, "blob:") {
			e.say(Warning, "files", "Add blob: to frame-src.", "The app's policy keeps people from saving backups in Firefox, which asks frame-src when the enclave's frame hands out a file.")
		}
	}
	if scripts {
		e.say(Good, "csp", "", "The app's policy allows scripts of named origins only.")
	} else {
		e.say(Warning, "csp", "Limit script-src to 'self', hashes or nonces.", "The app's policy lets inline scripts, eval, or scripts of any origin run.")
	}
	if !slices.ContainsFunc(all, func(p policy) bool { return p["frame-ancestors"] != nil }) {
		e.say(Warning, "embedding", "Send frame-ancestors 'none' with the app's pages.", "The app's policy does not say who may embed the app: a page that does can bring documents of the enclave's host near the enclave.")
	}
	if e.enclave != nil && !frames {
		e.say(Warning, "frame-src", "Set frame-src "+e.enclave.String()+" blob:, which allows the release's page and nothing else of its host.", "The app's policy lets it embed more than the enclave's page: another page of the enclave's host in a frame can script the enclave.")
	}
}

// checkDirective says whether a policy lets the enclave load.
func (e *examination) checkDirective(p policy, name string, fallbacks ...string) {
	sources, ok := p.sources(append([]string{name}, fallbacks...)...)
	if !ok || allows(sources, e.enclave) {
		return
	}
	add := e.enclave.Scheme + "://" + e.enclave.Host
	if name == "frame-src" {
		add = e.enclave.String()
	}
	e.say(Bad, name, "Add "+name+" "+add+".", "The app's policy blocks the enclave: its %s is %q.", name, verify.Clip(strings.Join(sources, " ")))
}

// pageForm is a source that is the page of one release.
var pageForm = regexp.MustCompile(`\Ahttps?://[^/*]+/r/[0-9a-f]{32}/kms\.html\z`)

// onlyEnclave reports whether sources name pages of releases, and no more. A blob is of the
// origin that made it, and whoever can make one of the enclave's origin is inside it already.
func (e *examination) onlyEnclave(sources []string) bool {
	for _, s := range sources {
		if s != "'none'" && s != "blob:" && !pageForm.MatchString(s) {
			return false
		}
	}
	return true
}

func hasAny(list []string, wanted ...string) bool {
	for _, s := range list {
		for _, w := range wanted {
			if strings.EqualFold(s, w) {
				return true
			}
		}
	}
	return false
}

// checkFrames looks at the frames that stand in the page's markup.
func (e *examination) checkFrames() {
	for _, f := range e.page.frames {
		if e.enclave != nil && f.src != nil && f.src.Host == e.enclave.Host && f.src.Scheme == e.enclave.Scheme {
			e.say(Warning, "frames", "Let the SDK make the frame: it proves that the browser enforces the pin.", "The page embeds the enclave's host by hand.")
			continue
		}
		if f.src == nil || f.sandbox != nil && !hasAny(f.sandbox, "allow-same-origin") {
			continue
		}
		e.say(Bad, "frames", `Give it sandbox="allow-scripts" without allow-same-origin.`, "The frame %s is not sandboxed: a page of the enclave's host inside it can script the enclave's frame, and gets the share.", strconv.QuoteToASCII(verify.Clip(f.src.String())))
	}
}

// site returns the registrable domain of a host (the Public Suffix List), or the host.
func site(host string) string {
	if net.ParseIP(host) != nil {
		return host
	}
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return s
	}
	return host
}

// isPrivate reports whether a host is this machine or lies in a private network.
func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return verify.IsLoopback(host) || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}
