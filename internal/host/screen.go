//go:build js && wasm

package host

import (
	"context"
	"encoding/json/v2"
	"sync"
	"syscall/js"

	"github.com/kms-enclave/kms-enclave/prompt"
)

// screen shows dialogs in the frame, through the loader. It implements
// prompt.Prompter; prompt.Gate in front of it sees to the rules.
type screen struct {
	ask     js.Value
	dismiss js.Value

	mu      sync.Mutex
	last    int
	waiting map[int]chan bool // by the dialog's number
}

func newScreen(boot js.Value) *screen {
	s := &screen{ask: boot.Get("ask"), dismiss: boot.Get("dismiss"), waiting: map[int]chan bool{}}
	boot.Call("answered", js.FuncOf(func(_ js.Value, args []js.Value) any {
		s.answer(args[0].Int(), args[1].Bool())
		return nil
	}))
	return s
}

// destroyRequest is what web/screens.js draws.
type destroyRequest struct {
	Kind    string `json:"kind"`
	Origin  string `json:"origin"`
	Account string `json:"account"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Keys    int    `json:"keys"`
	Word    string `json:"word"`
	WaitMs  int64  `json:"waitMs"`
}

// Destroy implements prompt.Prompter.
func (s *screen) Destroy(ctx context.Context, request prompt.Destroy) error {
	return s.show(ctx, destroyRequest{
		Kind: "destroy", Origin: request.Origin, Account: request.Account, State: request.State,
		Reason: request.Reason, Keys: request.Keys, Word: prompt.Word, WaitMs: prompt.Wait.Milliseconds(),
	})
}

func (s *screen) show(ctx context.Context, request destroyRequest) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	id, decided := s.enter()
	defer s.leave(id)
	s.ask.Invoke(id, string(text))
	select {
	case confirmed := <-decided:
		if !confirmed {
			return prompt.ErrCancelled
		}
		return nil
	case <-ctx.Done():
		s.dismiss.Invoke(id)
		return context.Cause(ctx)
	}
}

func (s *screen) enter() (id int, decided <-chan bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	c := make(chan bool, 1)
	s.waiting[s.last] = c
	return s.last, c
}

func (s *screen) leave(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
}

// answer passes on what the user decided; an answer to a dialog that is gone
// changes nothing.
func (s *screen) answer(id int, confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.waiting[id]
	delete(s.waiting, id)
	if c != nil {
		c <- confirmed
	}
}
