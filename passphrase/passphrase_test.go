package passphrase

import (
	"bytes"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"strings"
	"testing"
	"time"
)

// counted returns n bytes from first on, each one more or one less.
func counted(n int, first, step byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)*step
	}
	return b
}

// TestKnownAnswers compares with two other implementations, which agree: the npm
// packages hash-wasm 4.13.0 (C, compiled to WebAssembly) and @noble/hashes 2.4.0
// (JavaScript, which also gives the answer of RFC 9106 section 5.3). That section's
// input has a secret and associated data, which x/crypto's API does not take.
func TestKnownAnswers(t *testing.T) {
	for _, v := range []struct {
		text   string
		salt   []byte
		params Params
		key    string
	}{
		{"correct horse battery staple", counted(16, 0, 1), Floor, "818259b6310026a8e0dbac5d2e6927abcfdb07b32258fac4f61b18b80f929085"},
		{"pass phrase ä漢\U0001f512", counted(32, 255, 255), Params{64 << 10, 3}, "8cf4cdb6d6427eb1cdcca2671400b873695737ae88d6afb117476108e7849a73"},
		{strings.Repeat("x", MaxBytes), counted(16, 0, 1), Params{19<<10 + 1, 4}, "9e3c113f5b47845d476937fc7445a55df451cfbb4c61a51ba0722ab145e01474"},
	} {
		key, err := Derive(v.text, v.salt, v.params)
		if err != nil || hex.EncodeToString(key) != v.key {
			t.Errorf("%+v: %x, %v, wanted %s", v.params, key, err, v.key)
		}
	}
}

func TestDeriveRefuses(t *testing.T) {
	salt := counted(MinSalt, 0, 1)
	for name, test := range map[string]struct {
		text   string
		salt   []byte
		params Params
	}{
		"too long":      {strings.Repeat("x", MaxBytes+1), salt, Floor},
		"short salt":    {"passphrase", salt[1:], Floor},
		"no salt":       {"passphrase", nil, Floor},
		"below floor":   {"passphrase", salt, Params{Floor.MemoryKiB, 1}},
		"above ceiling": {"passphrase", salt, Params{1 << 31, 2}},
	} {
		if key, err := Derive(test.text, test.salt, test.params); err == nil || key != nil {
			t.Errorf("%s: %x", name, key)
		}
	}
}

// TestDeriveDepends: every input makes a difference.
func TestDeriveDepends(t *testing.T) {
	derive := func(text string, salt []byte, p Params) []byte {
		key, err := Derive(text, salt, p)
		if err != nil || len(key) != KeySize {
			t.Fatalf("%d bytes, %v", len(key), err)
		}
		return key
	}
	salt := counted(MinSalt, 0, 1)
	base := derive("passphrase", salt, Floor)
	for name, other := range map[string][]byte{
		"text":   derive("passphrasf", salt, Floor),
		"salt":   derive("passphrase", counted(MinSalt, 1, 1), Floor),
		"memory": derive("passphrase", salt, Params{Floor.MemoryKiB + 1, Floor.Passes}), // 1 KiB is no block more
		"passes": derive("passphrase", salt, Params{Floor.MemoryKiB, Floor.Passes + 1}),
	} {
		if bytes.Equal(other, base) {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		text string
		want error
	}{
		{"", ErrShort},
		{"123456789", ErrShort},
		{"1234567890", nil},
		{"äöüäöüäöü", ErrShort}, // 18 bytes
		{"äöüäöüäöüß", nil},
		{strings.Repeat("\U0001f512", 9), ErrShort},
		{strings.Repeat("\U0001f512", 10), nil},
		{"correct horse battery staple", nil},
		{strings.Repeat("x", MaxBytes), nil},
		{strings.Repeat("x", MaxBytes+1), ErrLong},
		{strings.Repeat("ä", MaxBytes/2+1), ErrLong},
		{"tab\tin the middle", ErrOdd},
		{"line\nin the middle", ErrOdd},
		{"a zero\x00 in the middle", ErrOdd},
		{"delete\x7f in the middle", ErrOdd},
		{"C1 control \u0085 in the middle", ErrOdd},
		{"ill-formed \xff in the middle", ErrOdd},
		{"half a surrogate \xed\xa0\x80", ErrOdd},
		{"lost character \ufffd", ErrOdd},
	} {
		if err := Check(test.text); !errors.Is(err, test.want) {
			t.Errorf("%q: %v, wanted %v", test.text, err, test.want)
		}
	}
}

func TestParamsCheck(t *testing.T) {
	for _, p := range []Params{Floor, Ceiling, {64 << 10, 3}, {Floor.MemoryKiB, Ceiling.Passes}} {
		if err := p.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []Params{
		{},
		{Floor.MemoryKiB - 1, 2},
		{Floor.MemoryKiB, 1},
		{Floor.MemoryKiB, 0},
		{Ceiling.MemoryKiB + 1, 2},
		{Floor.MemoryKiB, Ceiling.Passes + 1},
		{1<<32 - 1, 1<<32 - 1},
	} {
		if err := p.Check(); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v, wanted ErrParams", p, err)
		}
	}
}

// TestParamsJSON: the names are stored, so they do not change.
func TestParamsJSON(t *testing.T) {
	if got, err := json.Marshal(Floor); err != nil || string(got) != `{"memoryKiB":19456,"passes":2}` {
		t.Errorf("%s, %v", got, err)
	}
}

// TestCalibrate has devices of different speed: what a derivation takes is
// proportional to memory and passes.
func TestCalibrate(t *testing.T) {
	for _, test := range []struct {
		floor time.Duration // what Floor takes
		want  Params
	}{
		{0, Params{64 << 10, 16}}, // a clock that stands still
		{-time.Second, Params{64 << 10, 16}},
		{time.Millisecond, Params{64 << 10, 16}},
		{20 * time.Millisecond, Params{64 << 10, 14}},
		{50 * time.Millisecond, Params{64 << 10, 5}},
		{100 * time.Millisecond, Params{64 << 10, 2}},
		{148 * time.Millisecond, Params{64 << 10, 2}},
		{149 * time.Millisecond, Params{46 << 10, 2}},
		{206 * time.Millisecond, Params{46 << 10, 2}},
		{207 * time.Millisecond, Params{32 << 10, 2}},
		{296 * time.Millisecond, Params{32 << 10, 2}},
		{297 * time.Millisecond, Params{19 << 10, 3}},
		{333 * time.Millisecond, Params{19 << 10, 3}},
		{334 * time.Millisecond, Floor},
		{500 * time.Millisecond, Floor},
		{time.Hour, Floor},
	} {
		calls := 0
		got := Calibrate(func(p Params) time.Duration {
			if calls++; p != Floor {
				t.Errorf("measured %+v", p)
			}
			return test.floor
		})
		if got != test.want || calls != 1 {
			t.Errorf("floor %v: %+v after %d measurements, wanted %+v", test.floor, got, calls, test.want)
		}
		if err := got.Check(); err != nil {
			t.Errorf("floor %v: %v", test.floor, err)
		}
		takes := time.Duration(float64(test.floor) * float64(got.cost()) / float64(Floor.cost()))
		if got != Floor && takes > Target {
			t.Errorf("floor %v: %+v takes %v", test.floor, got, takes)
		}
	}
}

// TestCalibrateGrows: a faster device never gets less.
func TestCalibrateGrows(t *testing.T) {
	last := Params{64 << 10, 16}
	for ms := range 700 {
		p := Calibrate(func(Params) time.Duration { return time.Duration(ms) * time.Millisecond })
		if p.MemoryKiB > last.MemoryKiB || p.MemoryKiB == last.MemoryKiB && p.Passes > last.Passes {
			t.Errorf("%d ms: %+v after %+v", ms, p, last)
		}
		last = p
	}
}

func TestStronger(t *testing.T) {
	for _, test := range []struct {
		p, other Params
		want     bool
	}{
		{Floor, Floor, false},
		{Params{64 << 10, 2}, Floor, true},
		{Params{64 << 10, 2}, Params{19 << 10, 3}, true},
		{Params{19 << 10, 3}, Floor, true},
		{Params{64 << 10, 3}, Params{64 << 10, 2}, true},
		{Params{64 << 10, 2}, Params{19 << 10, 16}, false}, // less is computed
		{Params{19 << 10, 16}, Params{64 << 10, 2}, false}, // takes less memory
		{Ceiling, Params{64 << 10, 16}, true},
	} {
		if got := test.p.Stronger(test.other); got != test.want {
			t.Errorf("%+v stronger than %+v: %t", test.p, test.other, got)
		}
		if test.want && test.other.Stronger(test.p) {
			t.Errorf("%+v and %+v are stronger than each other", test.p, test.other)
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	for name, p := range map[string]Params{"floor": Floor, "64 MiB, 2 passes": {64 << 10, 2}, "64 MiB, 3 passes": {64 << 10, 3}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Derive("passphrase", make([]byte, MinSalt), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
