package release

import (
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func realWords(t *testing.T) words {
	t.Helper()
	w, err := readWords(os.DirFS("../web"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestEveryWordIsUsed: every key of the words stands in the screens, and every
// key in the screens is one of the words. What ends with a dot is the beginning
// of several.
func TestEveryWordIsUsed(t *testing.T) {
	english := realWords(t)["en"]
	spaces := map[string]bool{}
	for key := range english {
		spaces[key[:strings.IndexByte(key, '.')]] = true
	}
	text, err := readScreens(os.DirFS("../web"))
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`"((?:` + strings.Join(slices.Sorted(maps.Keys(spaces)), "|") + `)\.[A-Za-z.-]*)"`)
	used := map[string]bool{}
	for _, found := range literal.FindAllStringSubmatch(text, -1) {
		used[found[1]] = true
	}
	matched := map[string]bool{}
	for key := range english {
		for name := range used {
			if key == name || strings.HasSuffix(name, ".") && strings.HasPrefix(key, name) {
				matched[key], matched[name] = true, true
			}
		}
		if !matched[key] {
			t.Errorf("%q: used by no screen", key)
		}
	}
	for name := range used {
		if !matched[name] {
			t.Errorf("%q: used by a screen, and not among the words", name)
		}
	}
}

// TestProblemsHaveWords: every code of package prompt has a sentence, in which the
// number and the text are where they say something.
func TestProblemsHaveWords(t *testing.T) {
	english := realWords(t)["en"]
	source, err := os.ReadFile("../prompt/screens.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(source), "// Codes of problems.")
	block, _, end := strings.Cut(block, "\n)")
	codes := regexp.MustCompile(`= +"([a-z-]+)"`).FindAllStringSubmatch(block, -1)
	if !found || !end || len(codes) < 20 {
		t.Fatalf("%d codes in prompt/screens.go", len(codes))
	}
	want := map[string]bool{}
	for _, code := range codes {
		want["problem."+code[1]] = true
		if english["problem."+code[1]] == nil {
			t.Errorf("problem %q: no words", code[1])
		}
	}
	for key := range english {
		if strings.HasPrefix(key, "problem.") && !want[key] {
			t.Errorf("%q: no problem has this code", key)
		}
	}
}

func TestWordsRefused(t *testing.T) {
	const good = `{"a.b": "c {x}", "a.n": {"one": "{n} d", "other": "{n} ds"}}`
	for name, test := range map[string]struct{ en, de, want string }{
		"a key that is missing":         {good, `{"a.b": "c {x}"}`, `lacks "a.n"`},
		"a key too many":                {good, strings.Replace(good, "{", `{"a.c": "d", `, 1), "not in English"},
		"another placeholder":           {good, strings.Replace(good, "{x}", "{y}", 1), "placeholders"},
		"no placeholder":                {good, strings.Replace(good, "{x}", "x", 1), "placeholders"},
		"a form that is missing":        {good, strings.Replace(good, `"one": "{n} d", `, "", 1), "forms"},
		"an open brace":                 {good, strings.Replace(good, "c ", "c { ", 1), "brace"},
		"an empty text":                 {good, strings.Replace(good, "{n} ds", "", 1), "empty"},
		"a control character":           {good, strings.Replace(good, "c ", `c\u0085`, 1), "control"},
		"a key twice":                   {good, strings.Replace(good, "{", `{"a.b": "c {x}", `, 1), "duplicate"},
		"a key that is no name":         {strings.Replace(good, "a.b", "a b", 1), strings.Replace(good, "a.b", "a b", 1), "dots"},
		"no English":                    {"{}", good, "no English"},
		"a list":                        {`["a"]`, good, "en.json"},
		"a text that is not a sentence": {good, strings.Replace(good, `"c {x}"`, "1", 1), "de.json"},
	} {
		files := fstest.MapFS{"words/en.json": {Data: []byte(test.en)}, "words/de.json": {Data: []byte(test.de)}}
		if _, err := readWords(files); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWordsAreASCII(t *testing.T) {
	files := fstest.MapFS{"words/en.json": {Data: []byte(`{"a.b": "é \u2028 <\/script> 🔑", "a.n": {"one": "{n}", "other": "{n}"}}`)}}
	w, err := readWords(files)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"en":{"a.b":"\u00e9 \u2028 \u003c/script\u003e \ud83d\udd11","a.n":{"one":"{n}","other":"{n}"}}}`
	if got := w.literal(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestScreensAreAllJoined: a file that the loader would lack is an error, and so is one that is not there.
func TestScreensAreAllJoined(t *testing.T) {
	real := os.DirFS("../web")
	files := fstest.MapFS{}
	for _, name := range screenFiles {
		text, err := fs.ReadFile(real, "screens/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files["screens/"+name] = &fstest.MapFile{Data: text}
	}
	if _, err := readScreens(files); err != nil {
		t.Fatal(err)
	}
	files["screens/new.js"] = &fstest.MapFile{}
	if _, err := readScreens(files); err == nil {
		t.Error("a file that is not joined: accepted")
	}
	delete(files, "screens/host.js")
	if _, err := readScreens(files); err == nil {
		t.Error("a file that is missing: accepted")
	}
}
