package enclavetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/prompt"
)

// testEnableRecovery: words are asked back, and until they are there is no phrase.
func testEnableRecovery(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	for _, method := range []string{"recovery.check", "backup.save"} {
		c.Refused(api.NotFound, method, nil)
	}
	before := settled(t, c.Device)
	for name, give := range map[string]func(){
		"at once":             func() { instead(o, cancels[prompt.Confirm]) },
		"seeing the words":    func() { instead(o, cancels[prompt.ShowPhrase]) },
		"being asked":         func() { instead(o, cancels[prompt.AskWords]) },
		"having them wrong":   func() { instead(o, types[prompt.AskWords](prompt.ChoiceWords, "a b c"), cancels[prompt.AskWords]) },
		"having them shorter": func() { instead(o, types[prompt.AskWords](prompt.ChoiceWords, ""), cancels[prompt.AskWords]) },
		"seeing them again":   func() { instead(o, chooses[prompt.AskWords](prompt.ChoiceBack), cancels[prompt.AskWords]) },
	} {
		o.User.On = nil
		give()
		c.Refused(api.Cancelled, "recovery.enable", nil)
		if c.Status().Recovery.Enabled || !same(before, settled(t, c.Device)) {
			t.Errorf("given up %s: something has changed", name)
		}
	}
	o.User.On = nil
	var words []string
	show := func(s prompt.ShowPhrase) (prompt.Answer, error) {
		if words != nil && !slices.Equal(words, s.Words) {
			t.Error("other words are shown the second time")
		}
		words = s.Words
		return o.User.Yes(s)
	}
	instead(o, show, show)
	instead(o,
		func(s prompt.AskWords) (prompt.Answer, error) {
			if len(s.Positions) != 3 || !slices.IsSorted(s.Positions) || s.Positions[0] < 1 || s.Positions[2] > 12 {
				t.Errorf("positions %v", s.Positions)
			}
			right, _ := o.User.Yes(s)
			wrong := strings.Fields(right.Text)
			wrong[1] = "zzzz"
			return prompt.Answer{Choice: prompt.ChoiceWords, Text: strings.Join(wrong, " ")}, nil
		},
		func(s prompt.AskWords) (prompt.Answer, error) {
			if s.Problem == nil || s.Problem.Number != s.Positions[1] {
				t.Errorf("positions %v, problem %+v", s.Positions, s.Problem)
			}
			right, _ := o.User.Yes(s)
			right.Text += " more"
			return right, nil
		},
		chooses[prompt.AskWords](prompt.ChoiceBack),
		func(s prompt.AskWords) (prompt.Answer, error) {
			right, err := o.User.Yes(s)
			right.Text = "  " + strings.ToUpper(right.Text) + "\n"
			return right, err
		})
	w := o.watch()
	var recovery api.Recovery
	c.Must("recovery.enable", nil, &recovery)
	w.expect(t, prompt.WordsWrong, prompt.WordsWrong)
	if got, want := w.seen(), []string{"confirm", "show-phrase", "ask-words", "ask-words", "ask-words", "show-phrase", "ask-words", "done"}; !slices.Equal(got, want) {
		t.Errorf("screens %v, %v wanted", got, want)
	}
	if s := c.Status().Recovery; !recovery.Enabled || recovery != s || len(words) != 12 {
		t.Errorf("%+v, status %+v", recovery, s)
	}
	for _, r := range dump(t, c.Device, aliceID) {
		if strings.Contains(string(r.Value), strings.Join(words, " ")) {
			t.Errorf("the phrase lies in the %s record", r.Kind)
		}
	}
	if e := c.succeeded("recovery.enable"); len(e) != 1 {
		t.Errorf("logged %+v", e)
	}
}

// wrongPhrases are phrases that are none, or another vault's, and what the user is told.
func wrongPhrases(words []string) (texts []string, problems []prompt.Problem) {
	replaced := func(at int, word string) string {
		other := slices.Clone(words)
		other[at] = word
		return strings.Join(other, " ")
	}
	const foreign = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
	for _, wrong := range []struct {
		text    string
		problem prompt.Problem
	}{
		{"", prompt.Problem{Code: prompt.WordCount}},
		{replaced(4, "zzzz"), prompt.Problem{Code: prompt.WordUnknown, Number: 5, Text: "zzzz"}},
		{strings.Join(words[1:], " "), prompt.Problem{Code: prompt.WordCount, Number: 11}},
		{strings.Join(words, " ") + " abandon", prompt.Problem{Code: prompt.WordCount, Number: 13}},
		{strings.Repeat("abandon ", 12), prompt.Problem{Code: prompt.PhraseChecksum}},
		{foreign, prompt.Problem{Code: prompt.PhraseOther}},
	} {
		texts, problems = append(texts, wrong.text), append(problems, wrong.problem)
	}
	return texts, problems
}

// typesWrong has the user type every wrong phrase before the right one.
func (o *Origin) typesWrong(words []string, other string) (problems []prompt.Problem) {
	texts, problems := wrongPhrases(words)
	problems[len(problems)-1].Code = other
	var replies []func(prompt.Phrase) (prompt.Answer, error)
	for _, text := range texts {
		replies = append(replies, types[prompt.Phrase](prompt.ChoicePhrase, text))
	}
	instead(o, replies...)
	return problems
}

// testUnlockByPhrase: it takes the whole phrase, of this vault, and offers a new
// passphrase to whoever has forgotten the old one.
func testUnlockByPhrase(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.create("passphrase")
	c.Must("recovery.enable", nil, nil)
	k := c.CreateKey("signing", "")
	slot := c.slot("passphrase")
	lock := func() {
		t.Helper()
		c.Must("vault.lock", nil, nil)
		o.User.On = nil
		instead(o, chooses[prompt.Unlock](prompt.ChoicePhrase))
	}
	for name, later := range map[string]func(prompt.NewPassphrase) (prompt.Answer, error){
		"later": chooses[prompt.NewPassphrase](prompt.ChoiceLater), "gives up": cancels[prompt.NewPassphrase],
	} {
		lock()
		problems := o.typesWrong(o.User.Words, prompt.PhraseOther)
		instead(o, later)
		w := o.watch()
		c.Must("vault.unlock", nil, nil)
		if got := w.problems(); fmt.Sprint(got) != fmt.Sprint(problems) {
			t.Errorf("%s: problems %+v, %+v wanted", name, got, problems)
		}
		c.signs(k)
		if c.slot("passphrase") != slot {
			t.Errorf("%s: the slot has changed", name)
		}
	}
	lock()
	instead(o, func(s prompt.NewPassphrase) (prompt.Answer, error) {
		if s.For != prompt.ForForgot {
			t.Errorf("screen %+v", s)
		}
		return prompt.Answer{Choice: prompt.ChoicePassphrase, Text: "remembered this time"}, nil
	})
	c.Must("vault.unlock", nil, nil)
	c.signs(k)
	if now := c.slot("passphrase"); now.ID != slot.ID || now.Label != slot.Label {
		t.Errorf("slot %+v, before %+v", now, slot)
	}
	if e := c.succeeded("vault.unlock"); len(e) != 3 || e[2].Details["kind"] != "recovery" {
		t.Errorf("logged %+v", e)
	}
	if e := c.succeeded("slots.change"); len(e) != 1 {
		t.Errorf("logged %+v", e)
	}
	lock()
	o.User.On = nil
	w := o.watch()
	instead(o,
		types[prompt.Unlock](prompt.ChoicePassphrase, o.User.Passphrase), // the old one
		types[prompt.Unlock](prompt.ChoicePassphrase, "remembered this time"))
	c.Must("vault.unlock", nil, nil)
	w.expect(t, prompt.WrongPassphrase)
}

// testCheckRecovery: the user proves to have the phrase still; only then is it logged.
func testCheckRecovery(t *testing.T, p Platform) {
	o := willing(t, p)
	c := o.Connect()
	c.CreateVault()
	c.Must("recovery.enable", nil, nil)
	problems := o.typesWrong(o.User.Words, prompt.PhraseOther)
	w := o.watch()
	var recovery api.Recovery
	c.Must("recovery.check", nil, &recovery)
	if got := w.problems(); fmt.Sprint(got) != fmt.Sprint(problems) || recovery != c.Status().Recovery {
		t.Errorf("problems %+v, %+v wanted; %+v", got, problems, recovery)
	}
	instead(o, cancels[prompt.Phrase])
	c.Refused(api.Cancelled, "recovery.check", nil)
	if e := c.succeeded("recovery.check"); len(e) != 1 {
		t.Errorf("logged %+v", e)
	}
	o.User.On = nil
	// A second phrase ends the first.
	first := o.User.Words
	shown := 0
	instead(o, func(s prompt.Confirm) (prompt.Answer, error) {
		shown++
		if !s.Enabled {
			t.Error("the user is not told that there is one already")
		}
		return o.User.Yes(s)
	})
	c.Must("recovery.enable", nil, nil)
	if slices.Equal(first, o.User.Words) || shown != 1 {
		t.Error("the same words again")
	}
	w = o.watch()
	instead(o, types[prompt.Phrase](prompt.ChoicePhrase, strings.Join(first, " ")))
	c.Must("recovery.check", nil, nil)
	w.expect(t, prompt.PhraseOther)
	if s := c.Status(); s.Lineage.Epoch != 2 {
		t.Errorf("epoch %d after another phrase", s.Lineage.Epoch)
	}
}
