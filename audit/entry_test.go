package audit

import (
	"bytes"
	"encoding/json/v2"
	"strings"
	"testing"
)

func TestEntryEncoding(t *testing.T) {
	tests := []struct {
		entry Entry
		want  string
	}{
		{Entry{Method: "vault.create", Outcome: "ok"}, `{"seq":0,"time":0,"method":"vault.create","origin":"","outcome":"ok"}`},
		{
			Entry{Seq: MaxSize - 1, Time: maxTime, Method: "m", KID: "k", Lease: "l", Origin: "https://a.example", Outcome: "denied", Details: map[string]string{"b": "2", "a": "1", "B": "<>&\u2028é\"\\\n\x01"}},
			`{"seq":9007199254740990,"time":100000000000,"method":"m","kid":"k","lease":"l","origin":"https://a.example","outcome":"denied","details":{"B":"<>&` + "\u2028" + `é\"\\\n\u0001","a":"1","b":"2"}}`,
		},
		{Entry{Method: "m", Outcome: "ok", Details: map[string]string{}}, `{"seq":0,"time":0,"method":"m","origin":"","outcome":"ok"}`},
		{Entry{Method: "m", Outcome: "ok", Details: map[string]string{"count": ""}}, `{"seq":0,"time":0,"method":"m","origin":"","outcome":"ok","details":{"count":""}}`},
	}
	for _, test := range tests {
		got, err := test.entry.Encode()
		if err != nil || string(got) != test.want {
			t.Errorf("got  %s (%v)\nwant %s", got, err, test.want)
		}
		if _, err := ParseEntry(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}

// FuzzEntryEncoding compares with the library, refusals included.
func FuzzEntryEncoding(f *testing.F) {
	f.Add(uint64(7), int64(9), "jwt.sign", "kid", "lease", "https://app.example", "ok", "aud", "<>&\u2028\x00", "é")
	f.Add(uint64(0), int64(0), "m", "", "", "", "o", "", "", "\xff")
	f.Fuzz(func(t *testing.T, seq uint64, at int64, method, kid, lease, origin, outcome, name, value, other string) {
		e := Entry{seq, at, method, kid, lease, origin, outcome, map[string]string{name: value, other: name}}
		got, err := e.appendJSON(nil)
		want, wantErr := json.Marshal(e, json.Deterministic(true))
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("got  %q, %v\nwant %q, %v", got, err, want, wantErr)
		}
	})
}

func TestEntryBounds(t *testing.T) {
	good := Entry{Method: "m", Outcome: "ok"}
	bad := map[string]func(*Entry){
		"seq":        func(e *Entry) { e.Seq = MaxSize },
		"time":       func(e *Entry) { e.Time = -1 },
		"far time":   func(e *Entry) { e.Time = maxTime + 1 },
		"method":     func(e *Entry) { e.Method = "" },
		"outcome":    func(e *Entry) { e.Outcome = "" },
		"length":     func(e *Entry) { e.Origin = strings.Repeat("x", MaxEntry) },
		"utf-8":      func(e *Entry) { e.Origin = "\xff" },
		"utf-8 name": func(e *Entry) { e.Details = map[string]string{"\xff": ""} },
	}
	for name, spoil := range bad {
		e := good
		spoil(&e)
		if encoded, err := e.Encode(); err == nil {
			t.Errorf("%s: encoded as %.80s", name, encoded)
		}
	}
}

// Every other spelling of the same entry is refused.
func TestEntryIsCanonical(t *testing.T) {
	const good = `{"seq":7,"time":9,"method":"m","kid":"k","origin":"o","outcome":"ok","details":{"a":"1","b":"2"}}`
	if _, err := ParseEntry([]byte(good)); err != nil {
		t.Fatal(err)
	}
	bad := []string{
		"", "null", "{}", "[]", good[:len(good)-1], good + " ", " " + good, good + "\n", good + good, "\ufeff" + good,
		strings.Replace(good, `"seq":7`, `"seq": 7`, 1),
		strings.Replace(good, `"seq":7`, `"seq":07`, 1),
		strings.Replace(good, `"seq":7`, `"seq":7.0`, 1),
		strings.Replace(good, `"seq":7`, `"seq":7e0`, 1),
		strings.Replace(good, `"seq":7`, `"seq":"7"`, 1),
		strings.Replace(good, `"seq":7`, `"seq":-7`, 1),
		strings.Replace(good, `"seq":7`, `"seq":9007199254740992`, 1),
		strings.Replace(good, `"time":9`, `"time":-9`, 1),
		strings.Replace(good, `"time":9,`, ``, 1),
		strings.Replace(good, `"time":9`, `"time":null`, 1),
		strings.Replace(good, `"seq":7,"time":9`, `"time":9,"seq":7`, 1),
		strings.Replace(good, `"seq":7`, `"seq":7,"seq":7`, 1),
		strings.Replace(good, `"seq"`, `"Seq"`, 1),
		strings.Replace(good, `"method":"m"`, `"method":"\u006d"`, 1),
		strings.Replace(good, `"method":"m"`, `"method":""`, 1),
		strings.Replace(good, `"kid":"k"`, `"kid":""`, 1),
		strings.Replace(good, `"kid":"k"`, `"kid":"k","lease":""`, 1),
		strings.Replace(good, `"kid":"k"`, `"kid":"k","surprise":1`, 1),
		strings.Replace(good, `{"a":"1","b":"2"}`, `{"b":"2","a":"1"}`, 1),
		strings.Replace(good, `{"a":"1","b":"2"}`, `{"a":"1","a":"1"}`, 1),
		strings.Replace(good, `{"a":"1","b":"2"}`, `{}`, 1),
		strings.Replace(good, `{"a":"1","b":"2"}`, `{"a":1}`, 1),
		strings.Replace(good, `{"a":"1","b":"2"}`, `null`, 1),
		strings.Replace(good, `"o"`, "\"\xff\"", 1),
		strings.Replace(good, `"o"`, `"\ud800"`, 1),
		strings.Replace(good, `"o"`, `"`+strings.Repeat("x", MaxEntry)+`"`, 1),
	}
	for _, text := range bad {
		if e, err := ParseEntry([]byte(text)); err != ErrNotCanonical {
			t.Errorf("%.120s: %+v, %v", text, e, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte(`{"seq":0,"time":0,"method":"m","origin":"","outcome":"ok"}`))
	f.Add([]byte(`{"seq":1,"time":2,"method":"m","kid":"k","lease":"l","origin":"o","outcome":"ok","details":{"a":"1","b":"é"}}`))
	f.Add([]byte(`{"seq":1,"time":2,"method":"m","origin":"o","outcome":"ok","details":{"b":"1","a":"\n"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEntry(b)
		if err != nil {
			return
		}
		encoded, err := e.Encode()
		if err != nil || !bytes.Equal(encoded, b) {
			t.Errorf("%q decodes and encodes as %q, %v", b, encoded, err)
		}
		if bytes.ContainsAny(b, "\n\r\x00") {
			t.Errorf("%q is not one line", b)
		}
	})
}

// FuzzEntryFields goes the other way: what is encoded can be decoded.
func FuzzEntryFields(f *testing.F) {
	f.Add(uint64(1), int64(2), "jwt.sign", "kid", "", "https://a.example", "ok", "audience", "x")
	f.Fuzz(func(t *testing.T, seq uint64, time int64, method, kid, lease, origin, outcome, name, value string) {
		e := Entry{seq, time, method, kid, lease, origin, outcome, map[string]string{name: value}}
		encoded, err := e.Encode()
		if err != nil {
			return
		}
		got, err := ParseEntry(encoded)
		if err != nil || got.Seq != seq || got.Origin != origin || got.Details[name] != value {
			t.Errorf("%q: %+v, %v", encoded, got, err)
		}
	})
}
