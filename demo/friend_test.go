package demo

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// posted is what a relay was sent.
type posted struct{ path, authorization, ttl, body string }

// fakeRelays answers for every relay, and takes down what came.
type fakeRelays struct {
	mu     sync.Mutex
	got    []posted
	status int
}

func (f *fakeRelays) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, posted{r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("TTL"), string(body)})
	if f.status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: f.status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

var twoRelays = []Relay{{"One", "http://localhost:8445"}, {"Two", "http://localhost:8446"}}

const goodURL = "http://localhost:8445/v1/subscriptions/abc-_1/messages"

func request(target, body string, header http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8443"+target, strings.NewReader(body))
	maps.Copy(r.Header, header)
	return r
}

func ask(handler http.Handler, target, body string) (status int, text string) {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request(target, body, nil))
	return w.Code, w.Body.String()
}

func message(url, token, text string, delay int) string {
	b, err := json.Marshal(handover{url, token, text, delay})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// A message goes out after its delay, with the token, and what the relay answered can be asked for.
func TestFriendSendsLater(t *testing.T) {
	for _, status := range []int{http.StatusAccepted, http.StatusUnauthorized, 0} {
		synctest.Test(t, func(t *testing.T) {
			relays := &fakeRelays{status: status}
			f := newFriend(twoRelays)
			f.client.Transport = relays
			code, text := ask(http.HandlerFunc(f.serve), friendPath, message(goodURL, "a.b.c", "hello", 10))
			var taken struct{ ID string }
			if err := json.Unmarshal([]byte(text), &taken, json.MatchCaseInsensitiveNames(true)); code != http.StatusAccepted || err != nil {
				t.Fatalf("got %d %s %v", code, text, err)
			}
			time.Sleep(10*time.Second - time.Nanosecond)
			synctest.Wait()
			if _, text := ask(http.HandlerFunc(f.serve), friendPath+"/"+taken.ID, ""); len(relays.got) > 0 || text != `{"state":"waiting"}` {
				t.Errorf("too early: %v, %s", relays.got, text)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			want := posted{goodURL, "Bearer a.b.c", "600", "hello"}
			if len(relays.got) != 1 || relays.got[0] != want {
				t.Errorf("got %v, wanted %v", relays.got, want)
			}
			told := `{"state":"done"}`
			if status != 0 {
				told = fmt.Sprintf(`{"state":"done","status":%d}`, status)
			}
			if code, text := ask(http.HandlerFunc(f.serve), friendPath+"/"+taken.ID, ""); code != http.StatusOK || text != told {
				t.Errorf("got %d %s, wanted %s", code, text, told)
			}
		})
	}
}

// The friend's server posts nowhere but to messages at the demo's relays, and does not redirect.
func TestFriendRefuses(t *testing.T) {
	f := newFriend(twoRelays)
	f.client.Transport = &fakeRelays{}
	for name, body := range map[string]string{
		"another origin":   message("http://localhost:8447/v1/subscriptions/a/messages", "t", "m", 0),
		"another scheme":   message("https://localhost:8445/v1/subscriptions/a/messages", "t", "m", 0),
		"another path":     message("http://localhost:8445/v1/user", "t", "m", 0),
		"a path around":    message("http://localhost:8445/v1/subscriptions/../messages", "t", "m", 0),
		"an escaped path":  message("http://localhost:8445/v1/subscriptions/%61/messages", "t", "m", 0),
		"a query":          message(goodURL+"?a=b", "t", "m", 0),
		"a name before":    message("http://a@localhost:8445/v1/subscriptions/a/messages", "t", "m", 0),
		"no address":       message("", "t", "m", 0),
		"no token":         message(goodURL, "", "m", 0),
		"a token of lines": message(goodURL, "t\r\nX: y", "m", 0),
		"no message":       message(goodURL, "t", "", 0),
		"a long message":   message(goodURL, "t", strings.Repeat("m", maxMessage+1), 0),
		"no time":          message(goodURL, "t", "m", -1),
		"much time":        message(goodURL, "t", "m", maxDelay+1),
		"too much":         message(goodURL, "t", strings.Repeat("m", maxRequest), 0),
		"no JSON":          "hello",
		"other members":    `{"url":"` + goodURL + `","token":"t","message":"m","delaySeconds":0,"method":"DELETE"}`,
	} {
		if code, text := ask(http.HandlerFunc(f.serve), friendPath, body); code != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, wanted 400", name, code, text)
		}
	}
	if code, _ := ask(http.HandlerFunc(f.serve), friendPath+"/unknown", ""); code != http.StatusNotFound {
		t.Errorf("an unknown message: got %d, wanted 404", code)
	}
}

// Only the app's pages are answered, by POST alone, and so many messages wait at most.
func TestFriendIsTheAppsAlone(t *testing.T) {
	cfg := config
	cfg.Relays = twoRelays
	handler := Handler(cfg, sdk)
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"http://localhost:8443"}}} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request(friendPath, message(goodURL, "t", "m", 60), header))
		if w.Code != http.StatusForbidden {
			t.Errorf("%v: got %d, wanted 403", header, w.Code)
		}
	}
	if response := get(t, handler, http.MethodGet, friendPath, nil); response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d, wanted 405", response.StatusCode)
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFriend(twoRelays)
		f.client.Transport = &fakeRelays{status: http.StatusAccepted}
		serve := http.HandlerFunc(f.serve)
		for round := range maxKept/maxWaiting + 2 {
			for range maxWaiting {
				if code, text := ask(serve, friendPath, message(goodURL, "t", "m", 60)); code != http.StatusAccepted {
					t.Fatalf("round %d: got %d %s, wanted 202", round, code, text)
				}
			}
			if code, _ := ask(serve, friendPath, message(goodURL, "t", "m", 0)); code != http.StatusTooManyRequests {
				t.Errorf("round %d: one more: got %d, wanted 429", round, code)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if len(f.posts) != maxKept || len(f.order) != maxKept {
			t.Errorf("keeps %d outcomes, wanted %d", len(f.posts), maxKept)
		}
	})
}

// The policy allows the relays' origins and no other beside the enclave's, and the page is told of them.
func TestRelaysAreInThePolicy(t *testing.T) {
	cfg := config
	cfg.Relays = twoRelays
	handler := Handler(cfg, sdk)
	response := get(t, handler, http.MethodGet, "/relays.js", nil)
	if want := "; connect-src 'self' http://localhost:8443 http://localhost:8445 http://localhost:8446; "; !strings.Contains(response.Header.Get("Content-Security-Policy"), want) {
		t.Errorf("policy %s, wanted %s in it", response.Header.Get("Content-Security-Policy"), want)
	}
	if text, want := body(t, response), `export const offered = [{"name":"One","origin":"http://localhost:8445"},{"name":"Two","origin":"http://localhost:8446"}];`+"\nexport const without = \"\";\n"; !strings.HasSuffix(text, want) {
		t.Errorf("got %s, wanted %s at its end", text, want)
	}
	cfg.Relays, cfg.WithoutRelays = nil, "no </script> here"
	if text, want := body(t, get(t, Handler(cfg, sdk), http.MethodGet, "/relays.js", nil)), "export const offered = [];\nexport const without = \"no \\u003c/script\\u003e here\";\n"; !strings.HasSuffix(text, want) {
		t.Errorf("without relays: got %s, wanted %s at its end", text, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a relay that is not an origin")
		}
	}()
	cfg.Relays = []Relay{{"One", "http://localhost:8445/; script-src *"}}
	Handler(cfg, sdk)
}
