//go:build js && wasm

package host

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/internal/jsbridge"
	"github.com/kms-enclave/kms-enclave/prompt"
)

// screen shows dialogs in the frame, through the loader. It implements
// prompt.Prompter; prompt.Gate in front of it sees to the rules, and that there
// is one dialog at a time.
//
// Every screen has a number of its own, so that an answer that crosses with the
// next question, or with the end of the dialog, is not taken for another's.
type screen struct {
	ask, progress, dismiss js.Value

	mu       sync.Mutex
	last     int         // screen's number
	answered chan answer // to the last screen; nil if nothing waits for it
}

// answer is what the frame said: the JSON of a prompt.Answer, or null for a no.
type answer struct {
	text string
	file []byte
}

func newScreen(boot js.Value) *screen {
	s := &screen{ask: boot.Get("ask"), progress: boot.Get("progress"), dismiss: boot.Get("dismiss")}
	boot.Call("answered", js.FuncOf(func(_ js.Value, args []js.Value) any {
		a := answer{text: args[1].String()}
		if jsbridge.IsBytes(args[2]) {
			a.file = jsbridge.GoBytes(args[2])
		}
		s.settle(args[0].Int(), a)
		return nil
	}))
	return s
}

// Open implements prompt.Prompter.
func (s *screen) Open(context.Context) (prompt.Dialog, error) { return dialog{s}, nil }

// dialog implements prompt.Dialog.
type dialog struct{ screen *screen }

// Ask implements prompt.Dialog.
func (d dialog) Ask(ctx context.Context, screen prompt.Screen) (prompt.Answer, error) {
	text, err := request(screen)
	if err != nil {
		return prompt.Answer{}, err
	}
	if ctx.Err() != nil {
		return prompt.Answer{}, context.Cause(ctx)
	}
	id, answered := d.screen.expect()
	defer d.screen.forget()
	d.screen.ask.Invoke(id, text, fileOf(screen))
	select {
	case a := <-answered:
		return a.parse()
	case <-ctx.Done():
		return prompt.Answer{}, context.Cause(ctx)
	}
}

// Progress implements prompt.Dialog.
func (d dialog) Progress(p prompt.Progress) {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // one of our own words has a form in JSON
	}
	d.screen.progress.Invoke(string(text))
}

// Close implements prompt.Dialog.
func (d dialog) Close(error) { d.screen.dismiss.Invoke() }

// request returns what the frame draws: the screen's JSON and its kind.
func request(screen prompt.Screen) (string, error) {
	members, err := json.Marshal(screen)
	if err != nil {
		return "", fmt.Errorf("host: %w", err)
	}
	// Every screen is an object with members of its own.
	return fmt.Sprintf(`{"kind":%q,%s`, screen.Kind(), members[1:]), nil
}

// fileOf returns the file that comes with a screen, or undefined.
func fileOf(screen prompt.Screen) js.Value {
	if save, ok := screen.(prompt.SaveFile); ok {
		return jsbridge.Bytes(save.File)
	}
	return js.Undefined()
}

// expect begins to wait for the answer to a new screen.
func (s *screen) expect() (id int, answered <-chan answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.answered = make(chan answer, 1)
	return s.last, s.answered
}

func (s *screen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = nil
}

// settle passes an answer on; one to a screen that is gone, or a second one, changes nothing.
func (s *screen) settle(id int, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.last || s.answered == nil {
		return
	}
	s.answered <- a
	s.answered = nil
}

// parse is strict: the frame is ours, and what it says has one form.
func (a answer) parse() (prompt.Answer, error) {
	if a.text == "null" {
		return prompt.Answer{}, prompt.ErrCancelled
	}
	var parsed prompt.Answer
	if err := json.Unmarshal([]byte(a.text), &parsed, json.RejectUnknownMembers(true)); err != nil {
		return prompt.Answer{}, fmt.Errorf("%w: not of its form", prompt.ErrAnswer) // the decoder's words may hold a secret
	}
	if parsed.Choice == "" {
		return prompt.Answer{}, fmt.Errorf("%w: no choice", prompt.ErrAnswer)
	}
	parsed.File = a.file
	return parsed, nil
}
