package enclave

import (
	"errors"
	"slices"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// change commits a change of the ways in under the name of a method, and goes on
// with the vault as it is then.
func (c *call) change(change vault.Change, method string, details map[string]string) error {
	c.progress("rewrapping")
	v, err := c.vaults.Change(c.ctx, c.vault, change, audit.Entry{
		Method: method, Origin: c.cfg.Origin, Outcome: "ok", Details: details,
	})
	if err != nil {
		return err
	}
	c.vault = v
	c.watch(v.Lock(), v.Idle())
	return nil
}

func (c *call) slotList() outcome {
	return outcome{Result: api.SlotList{Slots: slotsOf(c.vault.Slots()), Lock: c.vault.Lock()}}
}

func describeAdd(c *call, p *api.AddSlotParams) (prompt.Confirm, error) {
	slots := c.vault.Slots()
	if len(slots) >= vault.MaxSlots {
		return prompt.Confirm{}, vault.ErrManySlots
	}
	for _, s := range slots {
		if s.Kind == p.Kind && p.Kind != vault.KindPasskey {
			return prompt.Confirm{}, vault.ErrSlotExists
		}
	}
	request := prompt.Confirm{Slot: &prompt.SlotFact{Kind: p.Kind}}
	if p.Kind == vault.KindDevice {
		request.Word = prompt.WordYes // the vault will have no lock
	}
	return request, nil
}

func slotsAdd(c *call, p *api.AddSlotParams) (outcome, error) {
	slot, err := c.newSlot(p.Kind, p.Label, prompt.ForSlot)
	if err != nil {
		return outcome{}, err
	}
	err = c.change(vault.Change{Way: c.way, Add: &slot}, "slots.add", map[string]string{"kind": p.Kind})
	return c.slotList(), err
}

// slot returns a way in by its id.
func (c *call) slot(id string) (s vault.Slot, others int, err error) {
	slots := c.vault.Slots()
	for _, s := range slots {
		if s.ID == id {
			return s, len(slots) - 1, nil
		}
	}
	return s, 0, vault.ErrNoSlot
}

func factOf(s vault.Slot) *prompt.SlotFact {
	return &prompt.SlotFact{ID: s.ID, Kind: s.Kind, Label: s.Label, CreatedAt: s.CreatedAt}
}

func describeRemove(c *call, p *api.SlotParams) (prompt.Confirm, error) {
	s, others, err := c.slot(p.ID)
	if err == nil && others == 0 {
		err = vault.ErrLastSlot
	}
	return prompt.Confirm{Slot: factOf(s)}, err
}

func slotsRemove(c *call, p *api.SlotParams) (outcome, error) {
	s, _, err := c.slot(p.ID)
	if err != nil {
		return outcome{}, err
	}
	err = c.change(vault.Change{Way: c.way, Remove: p.ID}, "slots.remove", slotDetails(s))
	return c.slotList(), err
}

func describeChange(c *call, p *api.SlotParams) (prompt.Confirm, error) {
	s, _, err := c.slot(p.ID)
	if err == nil && s.Kind != vault.KindPassphrase {
		err = errorf(api.Unsupported, "only a passphrase can be changed; add another %s and remove this one", s.Kind)
	}
	return prompt.Confirm{Slot: factOf(s)}, err
}

func slotsChange(c *call, p *api.SlotParams) (outcome, error) {
	s, _, err := c.slot(p.ID)
	if err != nil {
		return outcome{}, err
	}
	slot, err := c.newPassphrase(prompt.ForChange)
	if err != nil {
		return outcome{}, err
	}
	err = c.change(vault.Change{Way: c.way, Add: &slot, Remove: s.ID}, "slots.change", slotDetails(s))
	return c.slotList(), err
}

// slotsManage shows the ways in, and lets the user change them until the user has
// enough. Each change takes a proof of its own. Whoever gives up one is back at the list.
func slotsManage(c *call, p *api.None) (outcome, error) {
	changed, err := c.manageAll()
	switch {
	case err != nil && !changed:
		return outcome{}, err
	case err != nil:
		c.closeDialog(err) // what was changed before is answered all the same
	case !changed:
		c.closeDialog(prompt.ErrClosed)
	}
	return vaultStatus(c, p)
}

// manageAll shows the list until the user closes it, and reports whether something was
// changed.
func (c *call) manageAll() (changed bool, err error) {
	for {
		answer, err := c.ask(c.methods())
		if errors.Is(err, prompt.ErrCancelled) || (err == nil && answer.Choice == prompt.ChoiceClose) {
			return changed, nil
		}
		if err != nil {
			return changed, err
		}
		err = c.manage(answer)
		if err != nil && !slices.ContainsFunc(backAtTheList, func(back error) bool { return errors.Is(err, back) }) {
			return changed, err
		}
		changed = changed || err == nil
	}
}

// backAtTheList are the errors after which the list shows what there is.
var backAtTheList = []error{prompt.ErrCancelled, vault.ErrManySlots, vault.ErrSlotExists, vault.ErrLastSlot, vault.ErrNoSlot}

func (c *call) methods() prompt.Methods {
	m := prompt.Methods{App: c.app(), Lock: c.vault.Lock()}
	m.Recovery, m.RecoveryAt = c.vault.Recovery()
	slots := c.vault.Slots()
	for _, s := range slots {
		fact := factOf(s)
		fact.Last = len(slots) == 1
		m.Slots = append(m.Slots, *fact)
	}
	return m
}

// manage does what the user has chosen from the list, by way of the row that an app
// would have called.
func (c *call) manage(answer prompt.Answer) error {
	row := *c
	method, params := "", any(&api.SlotParams{ID: answer.Slot})
	switch answer.Choice {
	case prompt.ChoiceAdd:
		method, params = "slots.add", &api.AddSlotParams{Kind: answer.Text}
	case prompt.ChoiceRemove:
		method = "slots.remove"
	case prompt.ChoiceChange:
		method = "slots.change"
	case prompt.ChoiceRecovery:
		method, params = "recovery.enable", &api.None{}
	default:
		return prompt.ErrAnswer
	}
	if method == "slots.add" && !isSlotKind(answer.Text) {
		return prompt.ErrAnswer
	}
	row.row = byMethod[method]
	err := row.confirm(params)
	if err == nil {
		_, err = row.row.handle(&row, params)
	}
	c.vault, c.ctx, c.bounds = row.vault, row.ctx, row.bounds
	c.tries, c.untold = row.tries, row.untold // whoever guesses does not begin anew with each row
	return err
}

func isSlotKind(kind string) bool {
	return kind == vault.KindDevice || kind == vault.KindPassphrase || kind == vault.KindPasskey
}
