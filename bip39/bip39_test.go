package bip39

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TestList: the list is the standard's, byte for byte, and what the code relies on.
func TestList(t *testing.T) {
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(english))); got != want {
		t.Errorf("english.txt has the SHA-256 %s, wanted %s", got, want)
	}
	if len(list) != 2048 || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != 2048 {
		t.Errorf("%d words, sorted %t", len(list), slices.IsSorted(list))
	}
	prefixes := map[string]bool{}
	for _, w := range list {
		prefixes[w[:min(4, len(w))]] = true
		if len(w) < 3 || len(w) > 8 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("word %q", w)
		}
	}
	if len(prefixes) != 2048 {
		t.Errorf("%d beginnings of four letters", len(prefixes))
	}
}

// TestVectors runs the vectors that BIP-39 refers to, those of its reference
// implementation, whose passphrase is TREZOR.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		English [][3]string `json:"english"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.English) != 24 {
		t.Fatalf("%d vectors, %v", len(vectors.English), err)
	}
	for _, v := range vectors.English {
		entropy, err := hex.DecodeString(v[0])
		if err != nil {
			t.Fatal(err)
		}
		words := encode(entropy)
		if got := sentence(words); got != v[1] {
			t.Errorf("%s: words %s, wanted %s", v[0], got, v[1])
		}
		if got, err := decode(strings.Fields(v[1])); err != nil || !bytes.Equal(got, entropy) {
			t.Errorf("%s: decoded as %x, %v", v[0], got, err)
		}
		if got := hex.EncodeToString(seed(words, "TREZOR")); got != v[2] {
			t.Errorf("%s: seed %s, wanted %s", v[0], got, v[2])
		}
	}
}

// zeros is the phrase of the package comment, and zeroSeed its seed without a
// passphrase, in agreement with the npm packages bip39 and @scure/bip39.
const (
	zeros    = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
	zeroSeed = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc19a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
)

func TestSeed(t *testing.T) {
	p, err := New(bytes.NewReader(make([]byte, 16)))
	if err != nil || sentence(p.Words()) != zeros {
		t.Fatalf("%v, %v", p.Words(), err)
	}
	if got := hex.EncodeToString(p.Seed()); got != zeroSeed {
		t.Errorf("seed %s, wanted %s", got, zeroSeed)
	}
	p.Words()[0] = "changed"
	if q, err := Parse(zeros); err != nil || !q.Equal(p) || !bytes.Equal(q.Seed(), p.Seed()) {
		t.Errorf("parsed another phrase, %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero Phrase has a seed")
		}
	}()
	Phrase{}.Seed()
}

func TestNew(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		p, err := New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		seen[sentence(p.words)] = true
		q, err := Parse(sentence(p.words))
		if err != nil || !q.Equal(p) {
			t.Errorf("a new phrase does not parse: %v", err)
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d phrases of 100 draws", len(seen))
	}
	for n := range 16 {
		if _, err := New(bytes.NewReader(make([]byte, n))); err == nil {
			t.Errorf("phrase from %d random bytes", n)
		}
	}
}

func TestParseForgives(t *testing.T) {
	want, err := Parse(zeros)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"around":          " \t\n" + zeros + "\r\n",
		"lines":           strings.ReplaceAll(zeros, " ", "\r\n"),
		"many":            strings.ReplaceAll(zeros, " ", " \t  "),
		"no-break space":  strings.ReplaceAll(zeros, " ", "\u00a0"),
		"ideographic":     strings.ReplaceAll(zeros, " ", "\u3000"),
		"em space":        strings.ReplaceAll(zeros, " ", "\u2003"),
		"line separator":  strings.ReplaceAll(zeros, " ", "\u2028"),
		"capitals":        strings.ToUpper(zeros),
		"capital letters": strings.ReplaceAll(zeros, "aba", "Aba"),
	} {
		if got, err := Parse(text); err != nil || !got.Equal(want) || !bytes.Equal(got.Seed(), want.Seed()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	words := strings.Fields(zeros)
	with := func(i int, word string) string {
		changed := slices.Clone(words)
		changed[i] = word
		return sentence(changed)
	}
	for text, count := range map[string]int{
		"": 0, " \n": 0, "abandon": 1, sentence(words[:11]): 11, zeros + " about": 13, zeros + " " + zeros: 24,
		strings.Repeat("a ", 512): 512, strings.Repeat(" ", MaxText): 0,
	} {
		_, err := Parse(text)
		if e, ok := errors.AsType[*CountError](err); !ok || e.Count != count {
			t.Errorf("%q: %v, wanted %d words", text, err, count)
		}
	}
	for text, want := range map[string]WordError{
		with(0, "abandonn"):      {1, "abandonn"},
		with(11, "Abou"):         {12, "abou"},
		with(4, "aban"):          {5, "aban"},          // four letters are not a word
		with(4, "\u212aey"):      {5, "\u212aey"},      // the Kelvin sign
		with(4, "aba\u200bndon"): {5, "aba\u200bndon"}, // a space without width is none
		with(2, "\xff"):          {3, "\xff"},
		with(2, "caf\u00e9"):     {3, "caf\u00e9"},
		strings.Replace(zeros, " ", ",", 1) + " about": {1, "abandon,abandon"},
	} {
		_, err := Parse(text)
		if e, ok := errors.AsType[*WordError](err); !ok || *e != want {
			t.Errorf("%q: %v, wanted word %d", text, err, want.Number)
		} else if strings.Contains(err.Error(), e.Word) {
			t.Errorf("%q: the error shows the word", err)
		}
	}
	for _, text := range []string{with(11, "abandon"), with(0, "zoo"), sentence(append([]string{"about"}, words[:11]...))} {
		if _, err := Parse(text); !errors.Is(err, ErrChecksum) {
			t.Errorf("%q: %v, wanted ErrChecksum", text, err)
		}
	}
	if _, err := Parse(strings.Repeat("x", MaxText+1)); !errors.Is(err, ErrLong) {
		t.Errorf("long text: %v", err)
	}
}

// TestChecksum replaces one word by each other word: one in sixteen passes, as
// the package comment says.
func TestChecksum(t *testing.T) {
	words, passed := strings.Fields(zeros), 0
	for _, w := range list {
		words[3] = w
		if _, err := decode(words); err == nil {
			passed++
		}
	}
	if passed < 2048/16*3/4 || passed > 2048/16*5/4 {
		t.Errorf("%d of 2048 words pass, wanted about %d", passed, 2048/16)
	}
}

func TestWords(t *testing.T) {
	got, err := Words(bytes.NewReader([]byte{0, 0, 0, 1, 7, 0xff, 8, 0, 0xff, 0xff}), 5)
	if err != nil || sentence(got) != "abandon ability zoo abandon zoo" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Words(iotest.ErrReader(errors.New("none")), 1); err == nil {
		t.Error("words without randomness")
	}
	seen := map[string]int{}
	many, err := Words(rand.Reader, 2048*64)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range many {
		seen[w]++
	}
	for _, w := range list { // 64 expected; the standard deviation is 8
		if seen[w] < 8 || seen[w] > 128 {
			t.Errorf("%s was drawn %d times, wanted about 64", w, seen[w])
		}
	}
}

func TestPrinting(t *testing.T) {
	p, err := Parse(zeros)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, p); got != "bip39.Phrase" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

// FuzzParse wants whatever parses to be the words of its entropy, and to parse
// again as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		zeros, "", " ", strings.ToUpper(zeros), zeros + " about", strings.ReplaceAll(zeros, " ", "\u3000"),
		"legal winner thank year wave sausage worth useful legal winner thank yellow",
		"letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
		"zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
		"zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo",
		strings.Repeat("zoo ", 300), "\xff\xfe",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if len(p.words) != 0 {
				t.Error("a phrase and an error")
			}
			return
		}
		entropy, err := decode(p.words)
		if err != nil || len(entropy) != 16 || !slices.Equal(encode(entropy), p.words) {
			t.Errorf("%q has the entropy %x, %v", text, entropy, err)
		}
		if q, err := Parse(sentence(p.Words())); err != nil || !q.Equal(p) {
			t.Errorf("%q parses as %q, which does not parse: %v", text, p.words, err)
		}
	})
}
