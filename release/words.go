package release

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// words are what the dialogs say: by language, by key. web/screens/text.js reads them.
type words map[string]map[string]forms

// forms are those of one text: "one" and "other", or a single one, named "".
type forms map[string]string

var (
	keyForm         = regexp.MustCompile(`\A[a-z]+(\.[A-Za-z-]+)+(_[a-z]+)*\z`)
	languageForm    = regexp.MustCompile(`\A[a-z]{2,3}\z`)
	placeholderForm = regexp.MustCompile(`\{[a-z]+\}`)
)

// readWords reads every language of web/words and compares it with English.
func readWords(web fs.FS) (words, error) {
	files, err := fs.Glob(web, "words/*.json")
	if err != nil {
		return nil, err
	}
	all := words{}
	for _, file := range files {
		content, err := fs.ReadFile(web, file)
		if err != nil {
			return nil, err
		}
		var language map[string]forms
		if err := json.Unmarshal(content, &language); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all[strings.TrimSuffix(path.Base(file), ".json")] = language
	}
	return all, all.check()
}

// UnmarshalJSONFrom reads a string, or an object of forms.
func (t *forms) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != '"' {
		return json.UnmarshalDecode(d, (*map[string]string)(t))
	}
	var single string
	if err := json.UnmarshalDecode(d, &single); err != nil {
		return err
	}
	*t = forms{"": single}
	return nil
}

// MarshalJSONTo writes what UnmarshalJSONFrom reads.
func (t forms) MarshalJSONTo(e *jsontext.Encoder) error {
	if single, ok := t[""]; ok {
		return json.MarshalEncode(e, single)
	}
	return json.MarshalEncode(e, map[string]string(t))
}

// check returns an error unless every language has English's keys, and in each of
// them its placeholders.
func (w words) check() error {
	english := w["en"]
	if len(english) == 0 {
		return fmt.Errorf("words: no English")
	}
	for _, language := range slices.Sorted(maps.Keys(w)) {
		if !languageForm.MatchString(language) {
			return fmt.Errorf("words: got language %q, wanted two or three letters", language)
		}
		for key := range english {
			if _, ok := w[language][key]; !ok {
				return fmt.Errorf("words: %s lacks %q", language, key)
			}
		}
		for key, t := range w[language] {
			if err := t.check(key, english[key]); err != nil {
				return fmt.Errorf("words: %s: %q: %w", language, key, err)
			}
		}
	}
	return nil
}

func (t forms) check(key string, english forms) error {
	_, single := t[""]
	_, one := t["one"]
	_, other := t["other"]
	switch {
	case english == nil:
		return fmt.Errorf("not in English")
	case !keyForm.MatchString(key):
		return fmt.Errorf("wanted words with dots between them")
	case !(single && len(t) == 1) && !(one && other && len(t) == 2):
		return fmt.Errorf("got forms %q, wanted one text, or one and other", slices.Sorted(maps.Keys(t)))
	case t.placeholders() != english.placeholders():
		return fmt.Errorf("got placeholders %s, in English %s", t.placeholders(), english.placeholders())
	case one && !strings.Contains(t["other"], "{n}") && !strings.Contains(t["one"], "{n}"):
		return fmt.Errorf("forms without {n}")
	}
	for form, s := range t {
		if strings.TrimSpace(s) != s || s == "" {
			return fmt.Errorf("form %q: empty, or with space around it", form)
		}
		if strings.ContainsAny(placeholderForm.ReplaceAllString(s, ""), "{}") {
			return fmt.Errorf("form %q: a brace outside of a placeholder", form)
		}
		if at := strings.IndexFunc(s, unicode.IsControl); at >= 0 {
			return fmt.Errorf("form %q: a control character", form)
		}
	}
	return nil
}

// placeholders names those of all forms, once each and in order.
func (t forms) placeholders() string {
	var found []string
	for _, s := range t {
		found = append(found, placeholderForm.FindAllString(s, -1)...)
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " ")
}

// literal returns the words as an expression of JavaScript in ASCII, keys in order.
func (w words) literal() string {
	all, err := json.Marshal(w, json.Deterministic(true), jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true))
	if err != nil {
		panic(err) // maps of strings have a form in JSON
	}
	return ascii(string(all))
}

// ascii escapes what is not, in a JSON text (RFC 8259 section 7).
func ascii(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c < utf8.RuneSelf:
			b.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}
