package enclave

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kms-enclave/kms-enclave/api"
)

// check is one rule of a field's `check` tag; package api defines them.
type check struct {
	field  int
	member string
	rule   string
	arg    string
	n      int64
	oneOf  []string
}

// checksOf reads the tags of a parameter type. It panics on a rule it does not
// know: a limit that is written down must be enforced.
func checksOf(t reflect.Type) (checks []check) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("check")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		for rule := range strings.SplitSeq(tag, ",") {
			rule, arg, _ := strings.Cut(rule, "=")
			c := check{field: i, member: "/params/" + name, rule: rule, arg: arg}
			switch rule {
			case "required", "kid":
			case "enum", "bytes":
				c.oneOf = strings.Split(arg, "|")
			case "chars", "max", "min":
				n, err := strconv.ParseInt(arg, 10, 64)
				if err != nil {
					panic("enclave: check tag of " + t.Name() + "." + f.Name)
				}
				c.n = n
			default:
				panic("enclave: check tag of " + t.Name() + "." + f.Name)
			}
			checks = append(checks, c)
		}
	}
	return checks
}

func (c check) run(v reflect.Value) *api.Error {
	f := v.Field(c.field)
	if f.IsZero() {
		if c.rule == "required" {
			return invalid(c.member, "missing or empty")
		}
		return nil
	}
	switch c.rule {
	case "kid":
		if !isKID(f.String()) {
			return invalid(c.member, "not a key id: 43 characters of base64url wanted")
		}
	case "enum":
		if !slices.Contains(c.oneOf, f.String()) {
			return invalid(c.member, "%s wanted", strings.Join(c.oneOf, " or "))
		}
	case "bytes":
		if !slices.Contains(c.oneOf, strconv.Itoa(f.Len())) {
			return invalid(c.member, "%d bytes, %s wanted", f.Len(), strings.Join(c.oneOf, " or "))
		}
	case "chars":
		if n := utf8.RuneCountInString(f.String()); int64(n) > c.n {
			return invalid(c.member, "%d characters, at most %d allowed", n, c.n)
		}
	case "max":
		return c.runMax(f)
	case "min":
		if f.CanInt() && f.Int() < c.n {
			return invalid(c.member, "%d, at least %d wanted", f.Int(), c.n)
		}
	}
	return nil
}

func (c check) runMax(f reflect.Value) *api.Error {
	switch {
	case f.CanInt() && f.Int() > c.n:
		return invalid(c.member, "%d, at most %d allowed", f.Int(), c.n)
	case !f.CanInt() && int64(f.Len()) > c.n:
		return invalid(c.member, "%d bytes, at most %d allowed", f.Len(), c.n)
	}
	return nil
}

// isKID reports whether s looks like an RFC 7638 thumbprint.
func isKID(s string) bool {
	if len(s) != 43 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
