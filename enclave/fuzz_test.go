//go:build !js

package enclave

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// FuzzRequest decodes envelopes and parameters: no text makes it panic, every
// refusal says invalid_request in bounded words, and what is accepted is
// accepted again after encoding.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"id":7,"method":"enclave.info"}`,
		`{"v":1,"id":7,"method":"jwt.sign","params":{"kid":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","audience":"a","ttlSeconds":1,"claims":{"x":null}}}`,
		`{"v":1,"id":7,"method":"challenge.sign","params":{"kid":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","context":"c","data":"AA"}}`,
		`{"v":1,"id":7,"id":8,"method":"x"}`, `{"v":null}`, `[[[[`, "", `{"v":1,"id":1e3,"method":"keys.list","params":{"limit":1.0}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, failure := decodeRequest(text)
		if failure == nil {
			if row := byMethod[r.Method]; row != nil {
				_, failure = row.decode(r.Params)
			}
		}
		if failure != nil {
			if failure.Code != api.InvalidRequest || len(failure.Message) > 1000 {
				t.Errorf("%q is answered %v", text, failure)
			}
			encodeReply(api.Reply{ID: r.ID, Error: failure})
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, failure := decodeRequest(again); failure != nil {
			t.Errorf("%q encodes to %q, which is refused: %v", text, again, failure)
		}
	})
}

// FuzzClaims: of what is accepted, encoding/json finds no registered claim, and
// every claim by its own name only. It minds no letter case.
func FuzzClaims(f *testing.F) {
	for _, seed := range [][2]string{{"scope", "role"}, {"EXP", "x"}, {"i\u017fs", "x"}, {"kid", "\u212aid"}, {"a_b", "A-b"}, {"i\u00df", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		if !utf8.ValidString(one + two) {
			return // the decoder refuses it before
		}
		claims := map[string]jsontext.Value{one: jsontext.Value("1"), two: jsontext.Value("1")}
		if checkClaims(&api.SignJWTParams{Claims: claims}) != nil {
			return
		}
		if one != two && strings.EqualFold(one, two) {
			t.Errorf("%q beside %q accepted", one, two)
		}
		for _, name := range []string{"ISS", "SUB", "AUD", "EXP", "NBF", "IAT", "JTI"} {
			if strings.EqualFold(one, name) || strings.EqualFold(two, name) || strings.ToUpper(one) == name {
				t.Errorf("%q, %q accepted", one, two)
			}
		}
	})
}

// FuzzEndpoint: an accepted endpoint's origin is https without userinfo, path
// or upper case, is its own origin, and is the one that a sender finds.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"https://push.example.net/x", "https://A.example:8443/", "https://u@x/", "http://x/", "https://x:443", "https://PUSH.example:443/", "https://a:0443/", "https://a:/", "https://a?b@c", "https://a-.b/", "https://a_b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, endpoint string) {
		origin, failure := endpointOrigin(endpoint)
		if failure != nil {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Path != "" || u.RawQuery != "" || origin != strings.ToLower(origin) {
			t.Errorf("%q has origin %q", endpoint, origin)
		}
		if sender, err := webpush.Audience(endpoint); err == nil && sender != origin {
			t.Errorf("%q has origin %q, and a sender finds %q", endpoint, origin, sender)
		}
		if sender, err := webpush.Audience(origin + "/"); err != nil || sender != origin {
			t.Errorf("origin %q is %q for a sender (%v)", origin, sender, err)
		}
		if again, failure := endpointOrigin(origin); failure != nil || again != origin {
			t.Errorf("origin %q of %q has origin %q (%v)", origin, endpoint, again, failure)
		}
	})
}

// FuzzContact: what is accepted names a public domain in plain ASCII.
func FuzzContact(f *testing.F) {
	for _, seed := range []string{"mailto:ops@example.net", "https://example.net/x", "mailto:mailto:a@b.c", "https://localhost"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if checkContact(subject) != nil {
			return
		}
		if !strings.HasPrefix(subject, "mailto:") && !strings.HasPrefix(strings.ToLower(subject), "https:") {
			t.Errorf("%q accepted", subject)
		}
		if strings.ContainsAny(subject, "\x00\r\n\t ") || strings.Count(subject, "mailto:") > 1 || !strings.Contains(subject, ".") {
			t.Errorf("%q accepted", subject)
		}
	})
}
