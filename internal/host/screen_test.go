//go:build js && wasm

package host

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"strings"
	"syscall/js"
	"testing"

	"github.com/kms-enclave/kms-enclave/prompt"
)

// frame is the glue and the frame behind it: it notes what is shown, and answers
// when the test says so.
type frame struct {
	boot   js.Value
	answer js.Value
	shown  chan shown
	said   chan string // progress and ends
}

type shown struct {
	id      int
	request map[string]jsontext.Value
	file    js.Value
}

func newFrame(t *testing.T) *frame {
	t.Helper()
	f := &frame{boot: js.Global().Get("Object").New(), shown: make(chan shown, 8), said: make(chan string, 8)}
	for name, fn := range map[string]func(args []js.Value){
		"ask": func(args []js.Value) {
			s := shown{id: args[0].Int(), file: args[2]}
			if err := json.Unmarshal([]byte(args[1].String()), &s.request); err != nil {
				t.Error(err)
			}
			f.shown <- s
		},
		"progress": func(args []js.Value) { f.said <- args[0].String() },
		"dismiss":  func([]js.Value) { f.said <- "end" },
		"answered": func(args []js.Value) { f.answer = args[0] },
	} {
		callback := js.FuncOf(func(_ js.Value, args []js.Value) any {
			fn(args)
			return nil
		})
		t.Cleanup(callback.Release)
		f.boot.Set(name, callback)
	}
	return f
}

func (f *frame) say(id int, text string, file any) { f.answer.Invoke(id, text, file) }

func open(t *testing.T, f *frame) prompt.Dialog {
	t.Helper()
	d, err := newScreen(f.boot).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// outcome asks, has what is shown answered with text, and returns what came of it.
func outcome(t *testing.T, f *frame, d prompt.Dialog, screen prompt.Screen, text string, file any) (shown, prompt.Answer, error) {
	t.Helper()
	seen := make(chan shown, 1)
	go func() {
		s := <-f.shown
		seen <- s
		f.say(s.id, text, file)
	}()
	answer, err := d.Ask(t.Context(), screen)
	return <-seen, answer, err
}

func TestScreenAsks(t *testing.T) {
	f := newFrame(t)
	d := open(t, f)
	s, answer, err := outcome(t, f, d, prompt.Unlock{App: prompt.App{Origin: "https://a.example"}, Proof: prompt.Proof{Challenge: []byte{1, 2}}},
		`{"choice":"passkey","passkey":{"id":"AQI=","clientDataJSON":"","authenticatorData":"","signature":"","prf":""}}`, js.Undefined())
	if err != nil || answer.Choice != prompt.ChoicePasskey || string(answer.Passkey.ID) != "\x01\x02" {
		t.Errorf("%+v %v", answer, err)
	}
	if string(s.request["kind"]) != `"unlock"` || !strings.Contains(string(s.request["proof"]), `"challenge":"AQI="`) || !s.file.IsUndefined() {
		t.Errorf("shown: %s", s.request)
	}
	d.Progress(prompt.Progress{What: "checking"})
	d.Close(nil)
	if got := <-f.said + <-f.said; got != `{"what":"checking"}end` {
		t.Errorf("said %s", got)
	}
}

func TestScreenCarriesFiles(t *testing.T) {
	f := newFrame(t)
	d := open(t, f)
	s, _, err := outcome(t, f, d, prompt.SaveFile{What: "backup", File: []byte("abc")}, `{"choice":"saved"}`, js.Undefined())
	if err != nil || s.file.Length() != 3 || s.file.Index(2).Int() != 'c' {
		t.Errorf("%v, file of %d bytes", err, s.file.Length())
	}
	file := js.Global().Get("Uint8Array").New(2)
	file.SetIndex(1, 7)
	_, answer, err := outcome(t, f, d, prompt.PickFile{}, `{"choice":"file"}`, file)
	if err != nil || string(answer.File) != "\x00\x07" {
		t.Errorf("%v, file %q", err, answer.File)
	}
}

// TestScreenIsStrict: what is not one of the frame's answers is refused, and the
// refusal repeats nothing of it.
func TestScreenIsStrict(t *testing.T) {
	f := newFrame(t)
	d := open(t, f)
	for _, text := range []string{
		"", "{}", "true", `{"choice":1}`, `{"choice":"confirm","secret":"hunter2"}`, `{"Choice":"confirm"}`,
		`{"choice":"confirm","choice":"close"}`, `{"choice":"passkey","passkey":{"id":"*"}}`, `{"choice":"confirm"} ` + "x", "undefined",
	} {
		_, _, err := outcome(t, f, d, prompt.Done{}, text, js.Undefined())
		if !errors.Is(err, prompt.ErrAnswer) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, _, err := outcome(t, f, d, prompt.Done{}, "null", js.Undefined()); !errors.Is(err, prompt.ErrCancelled) {
		t.Errorf("null: %v", err)
	}
}

// TestScreenDropsStaleAnswers: an answer is for the screen whose number it has, once.
func TestScreenDropsStaleAnswers(t *testing.T) {
	f := newFrame(t)
	d := open(t, f)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-f.shown
		cancel(gone)
	}()
	if _, err := d.Ask(ctx, prompt.Done{}); !errors.Is(err, gone) {
		t.Fatalf("%v", err)
	}
	f.say(1, `{"choice":"close"}`, js.Undefined())
	go func() {
		s := <-f.shown
		f.say(s.id-1, `{"choice":"older"}`, js.Undefined())
		f.say(s.id+1, `{"choice":"newest"}`, js.Undefined())
		f.say(s.id, `{"choice":"close"}`, js.Undefined())
		f.say(s.id, `{"choice":"export"}`, js.Undefined())
	}()
	if answer, err := d.Ask(t.Context(), prompt.Activity{}); err != nil || answer.Choice != prompt.ChoiceClose {
		t.Errorf("%+v %v", answer, err)
	}
	if _, err := d.Ask(ctx, prompt.Done{}); !errors.Is(err, gone) || len(f.shown) > 0 {
		t.Errorf("when it is too late: %v, %d shown", err, len(f.shown))
	}
}
