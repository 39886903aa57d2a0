package relay

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kms-enclave/kms-enclave/internal/jws"
	"github.com/kms-enclave/kms-enclave/internal/must"
	"github.com/kms-enclave/kms-enclave/webpush"
)

// TestRelayTokens: every way in which a token can be wrong is 401, or 403 if it is a good one for something else.
func TestRelayTokens(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u, other := newRig(t, push), newUser(t), newUser(t)
	g.register(u, "inbox", push, "/a")
	g.register(other, "inbox", push, "/b")
	now := time.Now()
	claims := func(name string, value any) map[string]any {
		c := claimsAt(now, scopeRegister)
		c[name] = value
		if value == nil {
			delete(c, name)
		}
		return c
	}
	head := func(name string, value any) map[string]any {
		h := maps.Clone(u.header())
		h[name] = value
		if value == nil {
			delete(h, name)
		}
		return h
	}
	good := claimsAt(now, scopeRegister)
	forged := &user{key: other.key, kid: u.kid}
	whole := u.jws(t, u.header(), good)
	parts := strings.Split(whole, ".")
	vapid := must.Get[string](t)(webpush.SignToken(webpush.Claims{Audience: testOrigin, Expires: now.Add(time.Hour)}, u.sign))
	for _, test := range []struct {
		name, token string
		status      int
	}{
		{"good", whole, 200},
		{"again", whole, 200},
		{"bound to this one", u.jws(t, u.header(), claims("sub", "inbox")), 200},
		{"none", "", 401},
		{"a VAPID token", vapid, 401},
		{"signed by somebody else", forged.jws(t, u.header(), good), 401},
		{"kid of somebody else", u.jws(t, other.header(), good), 401},
		{"two parts", parts[0] + "." + parts[1], 401},
		{"four parts", whole + ".", 401},
		{"no signature", parts[0] + "." + parts[1] + ".", 401},
		{"signature cut", whole[:len(whole)-2], 401},
		{"padding", whole + "==", 401},
		{"claims of another token", parts[0] + "." + jws.Encode([]byte(`{"aud":"x"}`)) + "." + parts[2], 401},
		{"typ JWT", u.jws(t, head("typ", "JWT"), good), 401},
		{"no typ", u.jws(t, head("typ", nil), good), 401},
		{"alg none", u.jws(t, head("alg", "none"), good), 401},
		{"alg ES384", u.jws(t, head("alg", "ES384"), good), 401},
		{"crit", u.jws(t, head("crit", []string{"exp"}), good), 401},
		{"jwk in the header", u.jws(t, head("jwk", map[string]string{}), good), 401},
		{"no kid", u.jws(t, head("kid", nil), good), 401},
		{"kid with a dot", u.jws(t, head("kid", strings.Repeat("a", 42)+"."), good), 401},
		{"kid with a star", u.jws(t, head("kid", "*"), good), 401},
		{"another aud", u.jws(t, u.header(), claims("aud", "https://other.example")), 401},
		{"aud with a path", u.jws(t, u.header(), claims("aud", testOrigin+"/")), 401},
		{"aud of a list", u.jws(t, u.header(), claims("aud", []string{testOrigin})), 401},
		{"no aud", u.jws(t, u.header(), claims("aud", nil)), 401},
		{"expired now", u.jws(t, u.header(), claims("exp", now.Unix())), 401},
		{"expired", u.jws(t, u.header(), claims("exp", now.Unix()-1)), 401},
		{"no exp", u.jws(t, u.header(), claims("exp", nil)), 401},
		{"a day", u.jws(t, u.header(), claims("exp", now.Add(24*time.Hour).Unix())), 200},
		{"more than a day", u.jws(t, u.header(), claims("exp", now.Add(24*time.Hour).Unix()+30)), 401},
		{"exp that is a fraction", u.jws(t, u.header(), claims("exp", float64(now.Unix())+60.5)), 401},
		{"exp of text", u.jws(t, u.header(), claims("exp", "1")), 401},
		{"iat in the future", u.jws(t, u.header(), claims("iat", now.Unix()+90)), 401},
		{"iat a little in the future", u.jws(t, u.header(), claims("iat", now.Unix()+30)), 200},
		{"no iat", u.jws(t, u.header(), claims("iat", nil)), 401},
		{"no jti", u.jws(t, u.header(), claims("jti", nil)), 401},
		{"short jti", u.jws(t, u.header(), claims("jti", "abc")), 401},
		{"jti that is no base64url", u.jws(t, u.header(), claims("jti", strings.Repeat("=", 22))), 401},
		{"no scope", u.jws(t, u.header(), claims("scope", nil)), 401},
		{"another scope", u.jws(t, u.header(), claims("scope", "admin")), 401},
		{"a claim too many", u.jws(t, u.header(), claims("nbf", 1)), 401},
		{"empty sub", u.jws(t, u.header(), claims("sub", "")), 401},
		{"sub with a star", u.jws(t, u.header(), claims("sub", "*")), 401},
		{"too long", u.jws(t, u.header(), claims("jti", strings.Repeat("a", tokenMaxSize))), 401},
		{"scope send", u.token(t, scopeSend), 403},
		{"another subscription", u.jws(t, u.header(), claims("sub", "other")), 403},
		{"a user that is not known", newUser(t).token(t, scopeRegister), 404},
	} {
		if a := g.do("GET", "/v1/subscriptions/inbox", test.token, ""); a.status != test.status {
			t.Errorf("%s: got %d %s, wanted %d", test.name, a.status, a.body, test.status)
		}
	}
	for _, value := range []string{"Basic abc", "Bearer", "Bearer  " + whole, "DPoP " + whole} {
		if a := g.do("GET", "/v1/subscriptions/inbox", "", "", "Authorization", value); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%.10q: %d", value, a.status)
		}
	}
	if a := g.do("POST", "/v1/subscriptions/inbox/messages", u.token(t, scopeRegister), "x"); a.status != 403 {
		t.Errorf("register token sends: %d", a.status)
	}
	if a := g.do("DELETE", "/v1/user", u.jws(t, u.header(), claims("sub", "inbox")), ""); a.status != 403 {
		t.Errorf("a token of one subscription erases a user: %d", a.status)
	}
	if a := g.do("DELETE", "/v1/user", u.token(t, scopeSend), ""); a.status != 403 {
		t.Errorf("a send token erases a user: %d", a.status)
	}
}

// TestTokenOfAnotherKey: a registration is signed by the key that it brings.
func TestTokenOfAnotherKey(t *testing.T) {
	t.Parallel()
	push := newPushService(t)
	g, u, other := newRig(t, push), newUser(t), newUser(t)
	body := registrationBody(t, other, push.subscribe(t, "/a"))
	g.want(g.do("PUT", "/v1/subscriptions/a", u.token(t, scopeRegister), body), 401, "unauthorized")
	stolen := &user{key: u.key, kid: other.kid}
	g.want(g.do("PUT", "/v1/subscriptions/a", stolen.token(t, scopeRegister), body), 401, "unauthorized")
	g.want(g.do("PUT", "/v1/subscriptions/a", stolen.token(t, scopeRegister), registrationBody(t, u, push.subscribe(t, "/b"))), 401, "unauthorized")
	g.want(g.do("PUT", "/v1/subscriptions/a", other.token(t, scopeSend), body), 403, "forbidden")
}

// TestThumbprint is the P-256 key of RFC 7515 appendix A.3, with the digest that RFC 7638 gives it.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	x, y := must.Get[[]byte](t)(jws.Decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")), must.Get[[]byte](t)(jws.Decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"))
	if got := thumbprint(append(append([]byte{4}, x...), y...)); got != "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U" {
		t.Errorf("%s", got)
	}
	if thumbprint(x) != "" {
		t.Error("a thumbprint of half a key")
	}
}

// TestOneSpelling: a token cannot be spelled in two ways.
func TestOneSpelling(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token(t, scopeSend)
	must.Get[claimed](t)(parseToken(token))
	for _, other := range []string{token[:10] + "\n" + token[10:], token[:10] + "\r" + token[10:], token + "=", " " + token} {
		if _, err := parseToken(other); !errors.Is(err, errUnauthorized) {
			t.Errorf("%q: %v", other, err)
		}
	}
}

func TestProblemsMatch(t *testing.T) {
	t.Parallel()
	if !errors.Is(errFull.with("x"), errFull) || errors.Is(errFull, errGone) || errors.Is(errGone, http.ErrAbortHandler) {
		t.Error("problems match by their code")
	}
}
