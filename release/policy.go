package release

import (
	"fmt"
	"regexp"
)

// A pin's policy is one line of printable ASCII in one fixed grammar:
//
//	default-src 'none'; script-src 'sha384-…' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'
//
// where … is the standard base64 of 48 bytes. There is no second way to write
// it, because Chromium ignores an iframe's csp attribute without a word if it
// contains a line break, a comma, report-uri, or anything but printable ASCII,
// and then embeds whatever the host serves.
const (
	policyBefore = "default-src 'none'; script-src '"
	policyAfter  = "' 'wasm-unsafe-eval'; worker-src blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
)

// 48 bytes are 64 characters of base64 without padding bits, so that every
// string of this form is canonical.
var integrityForm = regexp.MustCompile(`\Asha384-[A-Za-z0-9+/]{64}\z`)

// Policy returns the policy that pins a loader by its integrity.
func Policy(loader string) (string, error) {
	if !integrityForm.MatchString(loader) {
		return "", fmt.Errorf("integrity: got %q, wanted sha384- and 64 characters of base64", loader)
	}
	return policyBefore + loader + policyAfter, nil
}

// ParsePolicy returns the integrity of the loader that a policy pins.
func ParsePolicy(policy string) (loader string, err error) {
	if len(policy) != len(policyBefore)+len("sha384-")+64+len(policyAfter) {
		return "", fmt.Errorf("policy: got %d bytes, wanted the %d of the one form", len(policy), len(policyBefore)+71+len(policyAfter))
	}
	loader = policy[len(policyBefore) : len(policy)-len(policyAfter)]
	if want, err := Policy(loader); err != nil {
		return "", fmt.Errorf("policy: %w", err)
	} else if policy != want {
		return "", fmt.Errorf("policy: got %q, wanted %q", policy, want)
	}
	return loader, nil
}
