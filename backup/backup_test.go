package backup

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var macKey = make([]byte, MACKeySize)

// example is the file of the package comment.
func example() *File {
	return &File{
		CreatedAt: 1795492832,
		Epoch:     7,
		Keys:      2,
		Vault:     [16]byte(bytes.Repeat([]byte{0xa1}, 16)),
		Phrase:    [16]byte(bytes.Repeat([]byte{0xb2}, 16)),
		Enc:       bytes.Repeat([]byte{0xc3}, EncSize),
		Wrapped:   bytes.Repeat([]byte{0xd4}, 60),
		Body:      bytes.Repeat([]byte{0xe5}, MinSealed),
	}
}

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	b, err := Encode(f, macKey)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// without returns the fields of a parsed file for comparison with those of one that was made.
func without(f *File) File {
	c := *f
	c.mac = [len(c.mac)]byte{}
	return c
}

func TestRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*File){
		"example":      func(*File) {},
		"least":        func(f *File) { *f = File{Enc: f.Enc, Wrapped: f.Wrapped[:MinSealed], Body: f.Body} },
		"most":         func(f *File) { f.CreatedAt, f.Epoch, f.Keys = maxTime, 1<<64-1, 1<<32-1 },
		"long wrapped": func(f *File) { f.Wrapped = make([]byte, MaxWrapped) },
		"long body":    func(f *File) { f.Wrapped, f.Body = make([]byte, MaxWrapped), make([]byte, MaxBody) },
	} {
		f := example()
		change(f)
		b := encode(t, f)
		got, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(without(got), *f) {
			t.Errorf("%s: parsed other fields", name)
		}
		if err := got.Authenticate(macKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasPrefix(b, got.AAD()) || !bytes.Equal(got.AAD(), f.AAD()) || len(b) != len(f.AAD())+4+len(f.Body)+32 {
			t.Errorf("%s: the additional data are not what comes before the body", name)
		}
		if len(b) > MaxSize {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*File){
		"before 1970":   func(f *File) { f.CreatedAt = -1 },
		"after 9999":    func(f *File) { f.CreatedAt = maxTime + 1 },
		"no enc":        func(f *File) { f.Enc = nil },
		"short enc":     func(f *File) { f.Enc = f.Enc[1:] },
		"long enc":      func(f *File) { f.Enc = make([]byte, EncSize+1) },
		"short wrapped": func(f *File) { f.Wrapped = f.Wrapped[:MinSealed-1] },
		"long wrapped":  func(f *File) { f.Wrapped = make([]byte, MaxWrapped+1) },
		"short body":    func(f *File) { f.Body = f.Body[1:] },
	} {
		f := example()
		change(f)
		if b, err := Encode(f, macKey); err == nil || b != nil {
			t.Errorf("%s: encoded", name)
		}
	}
	f := example()
	f.Body = make([]byte, MaxBody+1)
	if _, err := Encode(f, macKey); !errors.Is(err, ErrTooLarge) {
		t.Errorf("long body: %v", err)
	}
	for _, size := range []int{0, 31, 33} {
		if _, err := Encode(example(), make([]byte, size)); err == nil {
			t.Errorf("encoded with a MAC key of %d bytes", size)
		}
		if err := example().Authenticate(make([]byte, size)); err == nil || errors.Is(err, ErrEdited) {
			t.Errorf("MAC key of %d bytes: %v", size, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := encode(t, example())
	newer := bytes.Clone(good)
	newer[len(magic)] = 2
	older := bytes.Clone(good)
	older[len(magic)] = 0
	never := example()
	never.CreatedAt = maxTime + 1
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"after 9999":           {never.append(make([]byte, 32)), ErrEdited},
		"nothing":              {nil, ErrEmpty},
		"no bytes":             {[]byte{}, ErrEmpty},
		"one foreign byte":     {[]byte{0}, ErrForeign},
		"text":                 {[]byte("kms-enclave-backups\n and more"), ErrForeign},
		"carriage return":      {bytes.Replace(good, []byte("\n"), []byte("\r\n"), 1), ErrForeign},
		"mark in front":        {append([]byte("\ufeff"), good...), ErrForeign},
		"large and foreign":    {make([]byte, MaxSize+1), ErrForeign},
		"too large":            {append(bytes.Clone(good), make([]byte, MaxSize+1-len(good))...), ErrTooLarge},
		"version 0":            {older, ErrEdited},
		"one byte more":        {append(bytes.Clone(good), 0), ErrTrailing},
		"twice":                {append(bytes.Clone(good), good...), ErrTrailing},
		"as large as possible": {append(bytes.Clone(good), make([]byte, MaxSize-len(good))...), ErrTrailing},
	} {
		if f, err := Parse(test.b); !errors.Is(err, test.want) || f != nil {
			t.Errorf("%s: %v, wanted %v", name, err, test.want)
		}
	}
	// A newer version says so whatever follows, and however little.
	for _, b := range [][]byte{newer, newer[:len(magic)+1], append(bytes.Clone(newer), make([]byte, MaxSize)...)} {
		_, err := Parse(b)
		if e, ok := errors.AsType[*NewerError](err); !ok || e.Version != 2 {
			t.Errorf("%d bytes of version 2: %v", len(b), err)
		}
	}
}

// TestTruncated cuts a file off behind each byte.
func TestTruncated(t *testing.T) {
	good := encode(t, example())
	for n := 1; n < len(good); n++ {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: %v", n, len(good), err)
		}
	}
}

// TestFlipped changes each bit: what Parse does not find, the MAC does.
func TestFlipped(t *testing.T) {
	good := encode(t, example())
	byMAC := 0
	for i := range 8 * len(good) {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		f, err := Parse(b)
		if err != nil {
			if i/8 >= len(magic) && errors.Is(err, ErrForeign) || errors.Is(err, ErrEmpty) {
				t.Errorf("bit %d of byte %d: %v", i%8, i/8, err)
			}
			continue
		}
		byMAC++
		if err := f.Authenticate(macKey); !errors.Is(err, ErrEdited) {
			t.Errorf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
	if byMAC < 8*(len(good)-64) {
		t.Errorf("%d of %d changes parse", byMAC, 8*len(good))
	}
}

// TestSwapped puts each field of one file into another of the same vault and phrase.
func TestSwapped(t *testing.T) {
	one, two := example(), example()
	two.CreatedAt++
	two.Epoch++
	two.Keys++
	two.Vault[0]++
	two.Phrase[15]++
	two.Enc[EncSize-1]++
	two.Wrapped = append(two.Wrapped, 1)
	two.Body = append(two.Body, 1)
	for name, swap := range map[string]func(f, other *File){
		"createdAt": func(f, other *File) { f.CreatedAt = other.CreatedAt },
		"epoch":     func(f, other *File) { f.Epoch = other.Epoch },
		"keys":      func(f, other *File) { f.Keys = other.Keys },
		"vault":     func(f, other *File) { f.Vault = other.Vault },
		"phrase":    func(f, other *File) { f.Phrase = other.Phrase },
		"enc":       func(f, other *File) { f.Enc = other.Enc },
		"wrapped":   func(f, other *File) { f.Wrapped = other.Wrapped },
		"body":      func(f, other *File) { f.Body = other.Body },
		"mac":       func(f, other *File) { f.mac = other.mac },
		"both ends": func(f, other *File) { f.Body, f.mac = other.Body, other.mac },
	} {
		a, b := parse(t, encode(t, one)), parse(t, encode(t, two))
		swap(a, b)
		if err := parse(t, a.append(a.mac[:])).Authenticate(macKey); !errors.Is(err, ErrEdited) {
			t.Errorf("%s of another file: %v", name, err)
		}
	}
	other := bytes.Repeat([]byte{1}, MACKeySize)
	if err := parse(t, encode(t, one)).Authenticate(other); !errors.Is(err, ErrEdited) {
		t.Errorf("another MAC key: %v", err)
	}
	if err := one.Authenticate(macKey); !errors.Is(err, ErrEdited) {
		t.Errorf("a file that was never parsed: %v", err)
	}
}

func parse(t *testing.T, b []byte) *File {
	t.Helper()
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestBoundary moves a byte from one field to the next: the lengths are authenticated, too.
func TestBoundary(t *testing.T) {
	f := parse(t, encode(t, example()))
	last := f.Wrapped[len(f.Wrapped)-1]
	f.Wrapped, f.Body = f.Wrapped[:len(f.Wrapped)-1], append([]byte{last}, f.Body...)
	if err := f.Authenticate(macKey); !errors.Is(err, ErrEdited) {
		t.Error(err)
	}
}

// TestFixture: a file of version 1 is read for ever.
func TestFixture(t *testing.T) {
	want := example()
	b, err := os.ReadFile("testdata/v1.backup")
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, b)
	if err := f.Authenticate(macKey); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(without(f), *want) {
		t.Error("parsed other fields")
	}
}

// TestWorkedExample: the example of the package comment is what Encode writes.
func TestWorkedExample(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	rest := encode(t, example())
	var block strings.Builder
	line := func(name string, size int) {
		field := rest[:size]
		rest = rest[size:]
		text := hex.EncodeToString(field)
		if size > 32 {
			text = hex.EncodeToString(field[:12]) + "…"
		}
		fmt.Fprintf(&block, "//\t%s%s%s\n", text, strings.Repeat(" ", 66-len([]rune(text))), name)
	}
	line("magic", len(magic))
	line("version", 1)
	line("createdAt", 8)
	line("epoch", 8)
	line("keys", 4)
	line("vault", 16)
	line("phrase", 16)
	line("enc", 2+int(binary.BigEndian.Uint16(rest)))
	line("wrapped", 2+int(binary.BigEndian.Uint16(rest)))
	line("body", 4+int(binary.BigEndian.Uint32(rest)))
	line("mac", 32)
	if len(rest) != 0 {
		t.Errorf("%d bytes behind the MAC", len(rest))
	}
	if !bytes.Contains(source, []byte(block.String())) {
		t.Errorf("the package comment does not contain\n%s", block.String())
	}
}

// FuzzParse wants whatever parses to be written back as the same bytes, and nothing to
// be authentic that Encode did not write.
func FuzzParse(f *testing.F) {
	good := encode(f, example())
	f.Add(good)
	f.Add(good[:100])
	f.Add(append(bytes.Clone(good), 0))
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\x02"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			if file != nil {
				t.Error("a file and an error")
			}
			return
		}
		if again := file.append(file.mac[:]); !bytes.Equal(again, b) {
			t.Errorf("%x is written back as %x", b, again)
		}
		again, err := Encode(file, macKey)
		if authentic := file.Authenticate(macKey) == nil; err != nil || authentic != bytes.Equal(again, b) {
			t.Errorf("%x: authentic %t, %v", b, authentic, err)
		}
	})
}
